"""What a request comes to: the final list, and how it came about."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from catalog.view import CatalogView
from engine.fallback import noting
from engine.protocol import Vectors
from retrieval.pipeline.candidates import CandidateSet

RERANK_REDUCED = "RERANK_REDUCED"
RERANK_SKIPPED = "RERANK_SKIPPED"
RERANK_FAILED = "RERANK_FAILED"
LEXICAL_FAILED = "LEXICAL_FAILED"
DENSE_FAILED = "DENSE_FAILED"
ENGINE_FALLBACK = "ENGINE_FALLBACK"
RESPONSE_TRUNCATED = "RESPONSE_TRUNCATED"
EXPLANATION_SKIPPED = "EXPLANATION_SKIPPED"

# Rules that move products whatever the final score, by the names that stand among its features, and their labels.
CODE_MATCH_RULE, PRICE_RULE = "code_match_rule", "price_bounds_rule"
RULE_LABELS = {CODE_MATCH_RULE: "named by a code", PRICE_RULE: "beyond the price asked for"}


@dataclass(frozen=True, slots=True)
class StageScore:
    """What one stage said of a product. `rank` is its place by that stage alone, from 1; 0 where it was scored without
    having been found."""

    stage: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class FeatureContribution:
    """How much a feature, or a rule, raised or lowered the score; `value` is the feature's, NaN where it is missing.

    `feature` is a name of `ranker.features` or of a rule above.
    """

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A product of the answer by its catalog row. `reasons` are given where the caller asks for them."""

    row: int
    score: float
    said: tuple[StageScore, ...]
    reasons: tuple[FeatureContribution, ...] = ()

    def by(self, stage: str) -> StageScore | None:
        """What the stage said, or None where it said nothing."""
        return next((said for said in self.said if said.stage == stage), None)


@dataclass(slots=True)
class StageReport:
    """What one stage did: wall seconds, candidates in and out."""

    name: str
    candidates_in: int
    candidates_out: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Degradation:
    """A named reason why the answer is less than the plan asked for.

    `cause` is for the log alone: it may name paths and hosts.
    """

    reason: str
    detail: str
    cause: str = ""


@dataclass(slots=True)
class Answer:
    """The final list, best first, the candidates it was made of, and how it came about.

    `view` is the revision of the catalog whose rows all of them are.
    `relevance` is of the candidates, in their order; NaN where the cross-encoder did not speak. `searched` is the query
    where a rewrite changed it. `settled` is the time of the loop's clock when the stages that can be done without had
    ended, or ought to have; 0 before.
    """

    view: CatalogView
    hits: list[Hit] = field(default_factory=list)
    searched: str = ""
    found: CandidateSet = field(default_factory=CandidateSet)
    relevance: Vectors = field(default_factory=lambda: np.zeros(0, np.float32))
    stages: list[StageReport] = field(default_factory=list)
    degraded: list[Degradation] = field(default_factory=list)
    settled: float = 0.0

    @contextmanager
    def naming_fallback(self) -> Iterator[None]:
        """Names what another engine than the one asked did while the block ran."""
        with noting() as notes:
            yield
        if notes:
            calls = (note.partition(":")[0] for note in notes)
            self.degraded.append(Degradation(ENGINE_FALLBACK, "; ".join(calls), "; ".join(notes)))

    @contextmanager
    def stage(self, name: str, candidates_in: int) -> Iterator[StageReport]:
        """Times a stage and adds it to the answer's reports, in the order in which stages start."""
        report = StageReport(name, candidates_in)
        self.stages.append(report)
        start = asyncio.get_running_loop().time()
        try:
            yield report
        finally:
            report.seconds = asyncio.get_running_loop().time() - start
