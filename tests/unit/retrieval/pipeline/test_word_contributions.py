"""What words count for the cross-encoder. In the doubles, a pair's logit is the product text's number of words."""

import asyncio
from pathlib import Path

import pytest
from doubles import COUNT, make_release, rows_of

from catalog.product import product_text
from core.plan import Plan
from engine.fake import FakeEngine
from retrieval.pipeline.result import EXPLANATION_SKIPPED, SearchResult
from retrieval.pipeline.search import search
from retrieval.pipeline.word_contributions import MOST_PRODUCT_WORDS, MOST_QUERY_WORDS, split_words, without
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_PLAN = Plan(candidates=20, rerank_depth=4)


async def ask(
    release: LoadedRelease, hits: int, seconds: float | None = None, query: str = "5 red shoes"
) -> SearchResult:
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    return await search(Query(query, explain_words=hits), _PLAN, release, Permit(), deadline)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red mug, 250 ml.", ["red", "mug", "250", "ml"]),
        ("  C++ & C# (new) - ", ["C++", "C#", "new"]),
        ("Acme. color: red", ["Acme", "color", "red"]),
        ("红色杯子 mug", ["红", "色", "杯", "子", "mug"]),
        ("USB充電器", ["USB", "充", "電", "器"]),
        ("!?", []),
        ("", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    split = split_words(text, 40)
    assert [word.word for word in split] == words
    assert all(word.word in text[word.start : word.end] for word in split)
    assert [word.word for word in split_words(text, 2)] == words[:2]


def test_a_word_is_left_out_with_its_punctuation() -> None:
    text = "red mug, blue"
    assert [without(text, word) for word in split_words(text, 9)] == [" mug, blue", "red  blue", "red mug, "]


async def test_words_of_the_first_hits_in_the_order_of_the_texts(release: LoadedRelease) -> None:
    answer = await ask(release, 2)
    assert [bool(hit.words) for hit in answer.hits] == [True, True] + [False] * 8
    words = answer.hits[0].words
    assert [word.word for word in words if word.from_query] == ["5", "red", "shoes"]
    text = product_text(answer.view.row(answer.hits[0].row))
    product = [word for word in words if not word.from_query]
    assert [word.word for word in product] == [word.word for word in split_words(text, 40)]
    # Leaving out a word of the product leaves one word less, and of the query as many.
    assert {word.contribution for word in product} == {1.0}
    assert {word.contribution for word in words if word.from_query} == {0.0}
    assert answer.degraded == []
    assert [(stage.name, stage.candidates_in, stage.candidates_out) for stage in answer.stages[-1:]] == [
        ("explain", 2, 2)
    ]
    calls = release.engine.calls  # type: ignore[attr-defined]
    assert calls[-2:] == [("rescore", 1 + len(words))] * 2


async def test_without_the_request_nothing_is_explained(release: LoadedRelease) -> None:
    answer = await ask(release, 0)
    assert not any(hit.words for hit in answer.hits) and answer.stages[-1].name == "arrange"


async def test_long_texts_are_explained_in_part(tmp_path: Path) -> None:
    rows = rows_of(COUNT)
    for row in rows:
        row["title"] = " ".join(f"word{number}" for number in range(100))
    answer = await ask(make_release(tmp_path, rows), 1, query="5 " + "x " * 100)
    by_side = [sum(word.from_query is side for word in answer.hits[0].words) for side in (True, False)]
    assert by_side == [MOST_QUERY_WORDS, MOST_PRODUCT_WORDS] == [32, 40]


async def test_more_hits_than_there_are(tmp_path: Path) -> None:
    answer = await ask(make_release(tmp_path, rows_of(3)), 10)
    assert len(answer.hits) == 3 and all(hit.words for hit in answer.hits) and not answer.degraded


async def test_a_release_without_a_cross_encoder_names_it(tmp_path: Path) -> None:
    answer = await ask(make_release(tmp_path, ranker=False), 2)
    assert [entry.reason for entry in answer.degraded] == [EXPLANATION_SKIPPED]
    assert answer.hits and not any(hit.words for hit in answer.hits)


async def test_an_engine_that_fails_leaves_the_hits(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    whole = await ask(release, 0)
    release.rerank_depth = lambda plan: 0  # type: ignore[method-assign]
    release.engine.broken = {"rescore"}  # type: ignore[attr-defined]
    answer = await ask(release, 2)
    assert EXPLANATION_SKIPPED in [entry.reason for entry in answer.degraded]
    assert len(answer.hits) == len(whole.hits) and not any(hit.words for hit in answer.hits)


async def test_what_the_deadline_does_not_allow_is_left_out_and_named(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    release.rerank_cost.calibrate(1, 0.0005)  # a pair of 5 tokens 2.5 ms: 3 are rescored, 18 would take 45
    answer = await ask(release, 2, seconds=0.05)
    [entry] = [entry for entry in answer.degraded if entry.reason == EXPLANATION_SKIPPED]
    assert entry.detail == "the time allows the words of 0 of 2 hits" and answer.hits
    release.engine.delays["rescore"] = 0.0  # type: ignore[attr-defined]
    release.rerank_cost.calibrate(1, 0.0)
    assert not (await ask(release, 2, seconds=5)).degraded


async def test_explaining_is_no_part_of_the_time_that_answers_reserve(tmp_path: Path) -> None:
    release = make_release(tmp_path, engine=FakeEngine(COUNT, {"rescore": 0.02}))
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await ask(release, 5)
    explained = answer.stages[-1].seconds
    assert explained >= 0.1 and loop.time() - answer.arranging_since <= loop.time() - began - explained
