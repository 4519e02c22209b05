"""Measures what each word of a query and of a product counts for the cross-encoder, by leaving it out."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import regex

from catalog.product import product_text
from engine.expiry import on_thread
from engine.protocol import DeadlineExceeded, EngineError, Pair
from ranker.ranker import Ranker
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.quality import sheds_explanation
from retrieval.pipeline.result import EXPLANATION_SKIPPED, Hit, WordContribution
from text.scripts import runs

MOST_QUERY_WORDS, MOST_PRODUCT_WORDS = 32, 40
_SPACED = regex.compile(r"\S+")
_SIGN = regex.compile(r"\P{M}\p{M}*")
_EDGES = ".,;:!?()[]{}\"'\u00ab\u00bb\u201c\u201d\u201e\u2018\u2019\u2026-\u2013\u2014|/*"  # punctuation and quotes


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word as it is shown, and from where to where it stands in its text with the punctuation at its sides."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Work:
    """A product's pairs: the whole one, then one without each word of the query, then of the product."""

    query_words: Sequence[TextWord]
    product_words: Sequence[TextWord]
    pairs: Sequence[Pair]


def split_words(text: str, most: int) -> list[TextWord]:
    """The first words of a text: what stands between spaces, and single signs of scripts without them."""
    words: list[TextWord] = []
    for word in _words(text):
        if any(character.isalnum() for character in word.word):
            words.append(word)
            if len(words) == most:
                break
    return words


def without(text: str, word: TextWord) -> str:
    """The text without a word."""
    return text[: word.start] + text[word.end :]


async def explain_words(context: RequestContext) -> None:
    """Gives as many of the first hits as the request asks for the contribution of each word, as far as the time allows;
    names what is missing.

    A word's contribution is by how much the cross-encoder's logit falls when the word is left out of its text. Each hit
    takes one batch of pairs; those of the next are begun when it is done.
    """
    wanted = context.result.hits[: context.query.explain_words]
    if not wanted or sheds_explanation(context):
        return
    if context.release.ranker is None:
        context.degrade(EXPLANATION_SKIPPED, "the release has no cross-encoder whose words could be explained")
        return
    began = asyncio.get_running_loop().time()
    with context.result.stage("explain", len(wanted)) as stage:
        until = context.optional_until()
        try:
            async with asyncio.timeout_at(until):
                for place, hit in enumerate(wanted):
                    words = await _contributions(context, context.release.ranker, hit, until)
                    if words is None:
                        raise TimeoutError
                    context.result.hits[place] = replace(hit, words=words)
                    stage.candidates_out += 1
        except (TimeoutError, DeadlineExceeded):
            detail = f"the time allows the words of {stage.candidates_out} of {len(wanted)} hits"
            context.degrade(EXPLANATION_SKIPPED, detail)
        except EngineError as error:
            context.degrade(EXPLANATION_SKIPPED, "the cross-encoder failed to explain words", error)
    # What is optional is no part of what every answer takes in the end.
    context.result.arranging_since += asyncio.get_running_loop().time() - began


async def _contributions(
    context: RequestContext, ranker: Ranker, hit: Hit, until: float | None
) -> tuple[WordContribution, ...] | None:
    """None where there is too little time."""
    work = await on_thread(_prepare, ranker, context.query.text, product_text(context.view.row(hit.row)))
    seconds = context.seconds_left()
    lengths = [len(pair.tokens) for pair in work.pairs]
    cost = context.release.rerank_cost
    if seconds is not None and cost.affordable(lengths, context.release.reserve.usable(seconds)) < len(lengths):
        return None
    whole, *others = (await context.release.engine.rescore(work.pairs, until)).tolist()
    words = [*((word.word, True) for word in work.query_words), *((word.word, False) for word in work.product_words)]
    return tuple(
        WordContribution(word, from_query, whole - logit)
        for (word, from_query), logit in zip(words, others, strict=True)
    )


def _prepare(ranker: Ranker, query: str, product: str) -> _Work:
    query_words, product_words = split_words(query, MOST_QUERY_WORDS), split_words(product, MOST_PRODUCT_WORDS)
    whole, *products = ranker.tokenize_products([product, *(without(product, word) for word in product_words)])
    tokens = ranker.tokenize_query(query)
    packed = [
        *ranker.pack_all(tokens, [whole]),
        *(ranker.pack(ranker.tokenize_query(without(query, word)), whole) for word in query_words),
        *ranker.pack_all(tokens, products),
    ]
    return _Work(query_words, product_words, [Pair(*pair) for pair in packed])


def _words(text: str) -> Iterator[TextWord]:
    for spaced in _SPACED.finditer(text):
        start = spaced.start()
        for run, unspaced in runs(spaced[0]):
            if unspaced:
                for sign in _SIGN.finditer(run):
                    yield TextWord(sign[0], start + sign.start(), start + sign.end())
            else:
                yield TextWord(run.strip(_EDGES), start, start + len(run))
            start += len(run)
