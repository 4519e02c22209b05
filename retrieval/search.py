"""One request, top to bottom: encode, retrieve, rescore to the depth the deadline allows, arrange."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from core.plan import Plan
from engine.types import NO_FILTER, NO_OVERLAY, Candidates, DeadlineExceeded, EngineError, Pair
from retrieval.admission import Permit
from retrieval.budget import usable
from retrieval.loaded import LoadedRelease
from retrieval.query import Query

RERANK_REDUCED = "RERANK_REDUCED"
RERANK_SKIPPED = "RERANK_SKIPPED"
RERANK_FAILED = "RERANK_FAILED"


@dataclass(frozen=True, slots=True)
class Hit:
    """A product of the answer by its catalog row. Ranks are by each stage alone, from 1."""

    row: int
    score: float
    similarity: float
    retrieve_rank: int
    relevance: float | None = None
    rescore_rank: int | None = None


@dataclass(slots=True)
class StageReport:
    """What one stage did: wall seconds, candidates in and out."""

    name: str
    candidates_in: int
    candidates_out: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Degraded:
    """A named reason why the answer is less than the plan asked for."""

    reason: str
    detail: str


@dataclass(slots=True)
class Answer:
    """The final list, best first, and how it came about."""

    hits: list[Hit] = field(default_factory=list)
    stages: list[StageReport] = field(default_factory=list)
    degraded: list[Degraded] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, candidates_in: int) -> Iterator[StageReport]:
        """Times a stage and adds it to the answer's reports."""
        report = StageReport(name, candidates_in)
        start = asyncio.get_running_loop().time()
        try:
            yield report
        finally:
            report.seconds = asyncio.get_running_loop().time() - start
            self.stages.append(report)


async def search(query: Query, plan: Plan, release: LoadedRelease, permit: Permit, deadline: float | None) -> Answer:
    """Answers a query from one release.

    `deadline` is a time of the running loop's clock, or None. Raises DeadlineExceeded or EngineError when there is
    not even a retrieved list; trouble with rescoring only degrades the answer.
    """
    answer = Answer()
    with answer.stage("encode", 1) as stage:
        vectors = await release.engine.encode(release.tower.tokenize_queries([query.text]), deadline)
        stage.candidates_out = 1
    breadth = max(plan.candidates, query.top_k)
    with answer.stage("retrieve", release.products) as stage:
        [candidates] = await release.engine.retrieve(vectors, breadth, NO_FILTER, NO_OVERLAY, deadline)
        stage.candidates_out = len(candidates.rows)
    relevance = np.empty(0, np.float32)
    if release.ranker is not None and plan.rerank_depth and len(candidates.rows):
        relevance = await _rescore(query, plan, release, candidates, deadline, answer)
    with answer.stage("arrange", len(candidates.rows)) as stage:
        answer.hits = _arrange(candidates, relevance, query.top_k)
        stage.candidates_out = len(answer.hits)
    return answer


async def _rescore(
    query: Query, plan: Plan, release: LoadedRelease, candidates: Candidates, deadline: float | None, answer: Answer
) -> np.ndarray:
    """Probabilities of relevance of the first candidates, as many as there was time for; shape (depth,)."""
    with answer.stage("rescore", len(candidates.rows)) as stage:
        pairs = release.pack(query.text, candidates.rows[: plan.rerank_depth])
        depth = _depth(pairs, plan, release, deadline, answer)
        if not depth:
            return np.empty(0, np.float32)
        loop = asyncio.get_running_loop()
        start, tokens = loop.time(), sum(len(pair.tokens) for pair in pairs[:depth])
        latest = None if deadline is None else start + usable(deadline - start)
        try:
            async with asyncio.timeout_at(latest):
                logits = await release.engine.rescore(pairs[:depth], latest)
        except (TimeoutError, DeadlineExceeded):
            release.pace.observe(tokens, loop.time() - start)
            answer.degraded.append(Degraded(RERANK_FAILED, f"rescoring {depth} candidates took too long"))
            return np.empty(0, np.float32)
        except EngineError as error:
            answer.degraded.append(Degraded(RERANK_FAILED, str(error)))
            return np.empty(0, np.float32)
        release.pace.observe(tokens, loop.time() - start)
        stage.candidates_out = depth
        return release.relevance(logits, candidates.scores[:depth])


def _depth(pairs: list[Pair], plan: Plan, release: LoadedRelease, deadline: float | None, answer: Answer) -> int:
    """How many pairs to rescore: all, or as many as the time left affords, or none when too few would fit."""
    if deadline is None:
        return len(pairs)
    left = deadline - asyncio.get_running_loop().time()
    depth = release.pace.affordable([len(pair.tokens) for pair in pairs], left)
    if depth == len(pairs):
        return depth
    detail = f"{left * 1000:.0f} ms left allow {depth} of {len(pairs)} candidates"
    if depth < min(plan.minimum_rerank, len(pairs)):
        release.pace.relax()
        answer.degraded.append(Degraded(RERANK_SKIPPED, detail))
        return 0
    answer.degraded.append(Degraded(RERANK_REDUCED, detail))
    return depth


def _arrange(candidates: Candidates, relevance: np.ndarray, top_k: int) -> list[Hit]:
    """Rescored candidates by relevance, then the others by similarity less 1, which keeps them below."""
    order = np.argsort(-relevance, kind="stable")
    rescored = [
        Hit(
            row=int(candidates.rows[i]),
            score=float(relevance[i]),
            similarity=float(candidates.scores[i]),
            retrieve_rank=int(i) + 1,
            relevance=float(relevance[i]),
            rescore_rank=place + 1,
        )
        for place, i in enumerate(order[:top_k])
    ]
    offset = 1.0 if len(relevance) else 0.0
    rest = range(len(relevance), min(len(candidates.rows), len(relevance) + top_k - len(rescored)))
    return rescored + [
        Hit(
            row=int(candidates.rows[i]),
            score=float(candidates.scores[i]) - offset,
            similarity=float(candidates.scores[i]),
            retrieve_rank=i + 1,
        )
        for i in rest
    ]
