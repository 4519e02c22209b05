"""The sources of candidates: a list, each with its own policy for when it fails or is late.

To add one, write a class with the protocol `Source` and put it into the list of a pipeline (`search_sources`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from engine.lexical.index import Evidence, LexicalQuery
from engine.protocol import Candidates, DeadlineExceeded, EngineError, Vectors
from retrieval.listing.match_set import MOST_SIMILAR, LexicalMatches, similar_matches
from retrieval.pipeline.budget import before_words
from retrieval.pipeline.candidates import DENSE, LEXICAL, Fusion
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.lexical import LexicalFailed
from retrieval.pipeline.quality import sheds_words
from retrieval.pipeline.result import DENSE_FAILED, LEXICAL_FAILED, Lookup
from retrieval.understanding.result import OFF

# What a source raises when it fails or is late; anything else is a fault of the program and fails the request.
SOURCE_ERRORS = (TimeoutError, DeadlineExceeded, EngineError, LexicalFailed)


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What a request does when a source fails or is late.

    It goes on with the other sources and names `reason`, with `failed` or `late` as the detail. With `required`, it
    fails with the source's error where no other source retrieved a product.
    """

    reason: str
    required: bool
    failed: str
    late: str

    def detail(self, error: BaseException) -> str:
        """For people. An error without a text is one of time."""
        return self.failed if str(error) else self.late


@dataclass(frozen=True, slots=True)
class Completion:
    """A source's scores of all fused candidates, shape (c,), those that it did not retrieve among them.

    A source of words adds the query as it was parsed, and what the candidates hold of it.
    """

    scores: Vectors
    query: LexicalQuery | None = None
    evidence: Evidence | None = None


class Source(Protocol):
    """A source of candidates, for one request."""

    name: str
    """Of its stage and of its scores."""
    policy: FailurePolicy
    weight: float
    """How much its ranks count in fusion."""

    async def retrieve(self) -> Candidates:
        """Its products, best first. Raises one of `SOURCE_ERRORS`."""
        ...

    async def complete(self, fusion: Fusion) -> Completion:
        """Its scores of all fused candidates; called after `retrieve`. Raises one of `SOURCE_ERRORS`."""
        ...


@dataclass(frozen=True, slots=True)
class SourceResult:
    """A source and what it retrieved."""

    source: Source
    candidates: Candidates


@dataclass(frozen=True, slots=True)
class _Failure:
    source: Source
    error: BaseException


_Outcome: TypeAlias = SourceResult | _Failure


class DenseSource:
    """The products whose vectors are most similar to the query's."""

    name = DENSE
    policy = FailurePolicy(
        reason=DENSE_FAILED,
        required=True,
        failed="words alone answer: the bi-encoder failed",
        late="words alone answer: the bi-encoder took too long",
    )

    def __init__(self, context: RequestContext) -> None:
        """Retrieves nothing yet."""
        self._context = context
        self._vector = np.zeros(0, np.float32)
        self.weight = context.release.fusion_weights(context.plan)[0]

    async def retrieve(self) -> Candidates:
        """See `Source`. Where words can answer in its place, it leaves them the time."""
        context, release = self._context, self._context.release
        deadline = context.deadline if release.words is None else context.time_after(before_words)
        with context.result.stage("encode", 1) as stage:
            [tokens] = release.tower.tokenize_queries([context.query.text])
            self._vector = await release.models.encode(tokens, deadline)
            stage.candidates_out = 1
        with context.result.stage(self.name, len(context.view)) as stage:
            candidates = await self._retrieve(deadline)
            stage.candidates_out = len(candidates.rows)
        return candidates

    async def _retrieve(self, deadline: float | None) -> Candidates:
        """The most similar products that pass the filter; of a request that is answered from its match set, of those
        that match by their similarity."""
        context, models = self._context, self._context.release.models
        listing, selection = context.query.listing, context.selection
        count = context.plan.candidates  # of a list, whatever the size of its pages
        if not listing.needs_matches:
            count = max(count, context.query.top_k)
            candidates = await models.retrieve(self._vector, count, deadline, context.view, selection)
            context.result.lookup = Lookup(self._vector, context.view, selection, candidates)
            return candidates
        # The size of a page changes nothing: what is not ranked is listed all the same.
        exact = not listing.approximate
        if listing.match_all:
            similar = await models.retrieve(self._vector, MOST_SIMILAR, deadline, context.view, selection, exact)
        else:
            nearest = await models.retrieve(self._vector, MOST_SIMILAR, deadline, context.view, None, exact)
            similar = similar_matches(nearest, context.release.similarity_threshold)
        context.similar = similar
        passing = similar.rows if selection is None else similar.rows[selection.mask[similar.rows]]
        scores = similar.scores if selection is None else similar.scores[selection.mask[similar.rows]]
        return Candidates(passing[:count], scores[:count])

    async def complete(self, fusion: Fusion) -> Completion:
        """See `Source`."""
        context, missing = self._context, fusion.missing(self.name)
        scores = fusion.sources[self.name].scores.copy()
        scores[missing] = await context.release.models.score_rows(
            self._vector, fusion.rows[missing], context.deadline, context.view
        )
        return Completion(scores)


class LexicalSource:
    """The products whose words match the query's."""

    name = LEXICAL
    policy = FailurePolicy(
        reason=LEXICAL_FAILED, required=False, failed="matching words failed", late="matching words took too long"
    )

    def __init__(self, context: RequestContext) -> None:
        """For releases that have a lexical index. Retrieves nothing yet."""
        assert context.release.words is not None
        self._context = context
        self._words = context.release.words
        self._query = LexicalQuery()
        self.weight = context.release.fusion_weights(context.plan)[1]

    async def retrieve(self) -> Candidates:
        """See `Source`."""
        context = self._context
        with context.result.stage(self.name, len(context.view)) as stage:
            async with asyncio.timeout_at(context.optional_until()):
                text, count = context.query.text, context.plan.lexical_candidates
                matches = await self._words.search(text, count, context.view, context.selection)
                if context.query.listing.needs_matches:
                    context.lexical_matches = LexicalMatches(*await self._words.matches(text, context.view))
            self._query = matches.query
            if context.query.understanding != OFF:
                context.result.understanding = replace(context.result.understanding, attributes=matches.attributes)
            stage.candidates_out = len(matches.candidates.rows)
        return matches.candidates

    async def complete(self, fusion: Fusion) -> Completion:
        """See `Source`."""
        evidence = await self._words.evidence(self._query, fusion.rows, self._context.view)
        return Completion(self._words.scores(evidence), self._query, evidence)


def search_sources(context: RequestContext) -> list[Source]:
    """The sources of a search, in the order of precedence: what only the first can do is never left out."""
    sources: list[Source] = [DenseSource(context)]
    if context.release.words is not None and context.plan.lexical_candidates and not sheds_words(context):
        sources.append(LexicalSource(context))
    return sources


async def ask_sources(context: RequestContext, sources: Sequence[Source]) -> list[SourceResult]:
    """What the sources retrieve, side by side, in their order; one that fails or is late is left out by its policy.

    There is at least one. Raises the error of a required source where no other retrieved a product.
    """
    others = [asyncio.ensure_future(_retrieve(source)) for source in sources[1:]]
    try:
        outcomes = [await _retrieve(sources[0]), *[await other for other in others]]
    except BaseException:
        for other in others:
            other.cancel()
        raise
    retrieved = [outcome for outcome in outcomes if isinstance(outcome, SourceResult)]
    some = any(len(outcome.candidates.rows) for outcome in retrieved)
    for outcome in outcomes:
        if isinstance(outcome, _Failure):
            policy = outcome.source.policy
            if not some and (policy.required or not retrieved):
                raise outcome.error
            context.degrade(policy.reason, policy.detail(outcome.error), outcome.error)
    return retrieved


async def _retrieve(source: Source) -> _Outcome:
    try:
        return SourceResult(source, await source.retrieve())
    except SOURCE_ERRORS as error:
        return _Failure(source, error)
