"""The result of a search: the hits, and how they came about."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.fallback import collect_notes
from engine.protocol import Candidates, Vectors
from retrieval.listing.facets import FacetCounts
from retrieval.pipeline.candidates import CandidateSet
from retrieval.rules.effects import RuleReport
from retrieval.understanding.result import Understanding

RERANK_REDUCED = "RERANK_REDUCED"
RERANK_SKIPPED = "RERANK_SKIPPED"
RERANK_FAILED = "RERANK_FAILED"
LEXICAL_FAILED = "LEXICAL_FAILED"
DENSE_FAILED = "DENSE_FAILED"
ENGINE_FALLBACK = "ENGINE_FALLBACK"
RESPONSE_TRUNCATED = "RESPONSE_TRUNCATED"
EXPLANATION_SKIPPED = "EXPLANATION_SKIPPED"
SOURCE_FAILED = "SOURCE_FAILED"
PROFILE_FAILED = "PROFILE_FAILED"
RERANK_SHED = "RERANK_SHED"
SOURCE_SHED = "SOURCE_SHED"

# Rules that move products whatever the final score, by the names that stand among its features, and their labels.
CODE_MATCH_RULE, PRICE_RULE, NEGATION_RULE = "code_match_rule", "price_bounds_rule", "negation_rule"
PERSONAL_RULE = "personal_shift"
RULE_LABELS = {
    CODE_MATCH_RULE: "named by a code",
    PRICE_RULE: "beyond the price asked for",
    NEGATION_RULE: "has what is not wanted",
    PERSONAL_RULE: "towards the shopper",
}


@dataclass(frozen=True, slots=True)
class StageScore:
    """The score that one stage gave a product. `rank` is its place by that stage alone, from 1; 0 where a source scored
    a product that it did not retrieve."""

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
class WordContribution:
    """By how much the cross-encoder's logit falls when a word of the query, or of the product, is left out."""

    word: str
    from_query: bool
    contribution: float


@dataclass(frozen=True, slots=True)
class Total:
    """A count, and whether it is exact; else there may be more."""

    value: int
    exact: bool


@dataclass(frozen=True, slots=True)
class FilterReport:
    """How many products of the catalog pass the filter, and how the vector index was searched: scan, masked or none."""

    passing: int
    execution: str


@dataclass(frozen=True, slots=True)
class HitGroup:
    """The group of a hit: the value that its products share, how many there are, and the best of the others."""

    value: str
    size: int
    variants: tuple["Hit", ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A product of the result by its row of the view. `contributions` and `words` are there where the request asks to
    explain.

    `moves` is what moved it beside its score: pin, bury, boost, each with the rule behind a colon, cap or diversity.
    """

    row: int
    score: float
    stage_scores: tuple[StageScore, ...]
    contributions: tuple[FeatureContribution, ...] = ()
    words: tuple[WordContribution, ...] = ()
    moves: tuple[str, ...] = ()
    group: HitGroup | None = None

    def stage_score(self, stage: str) -> StageScore | None:
        """The score of the stage, or None where it did not score the product."""
        return next((score for score in self.stage_scores if score.stage == stage), None)


@dataclass(slots=True)
class StageReport:
    """What one stage did: when it began, a time of the loop's clock, wall seconds, candidates in and out."""

    name: str
    candidates_in: int
    candidates_out: int = 0
    seconds: float = 0.0
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Degradation:
    """A named reason why the result is less than the plan asks for.

    `cause` is for the log alone: it may name paths and hosts.
    """

    reason: str
    detail: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A search of the vector index with a vector of shape (d,), among a selection of the view, and what it returned."""

    vector: Vectors
    view: CatalogView
    selection: Selection | None
    candidates: Candidates


@dataclass(frozen=True, slots=True)
class ExplorationReport:
    """A hit that was drawn for a place kept for new products: its row, its rank from 1, and the probability that it was
    drawn."""

    row: int
    rank: int
    propensity: float


@dataclass(slots=True)
class PersonReport:
    """What an answer used of a shopper: products, those that the catalog does not have, and how strongly the order of a
    search was shifted; `reason` is why it was not.

    Of recommendations, `path` is how they came about, a name of `RecommendationPath` without its prefix, `sources`
    those that returned products, and `exploration` the places kept for new products.
    """

    products: int = 0
    unknown: int = 0
    strength: float = 0.0
    reason: str = ""
    path: str = ""
    sources: tuple[str, ...] = ()
    exploration: tuple[ExplorationReport, ...] = ()


@dataclass(slots=True)
class SearchResult:
    """The hits, best first, the candidates they were chosen from, and how they came about.

    `view` is the revision of the catalog whose rows all of them are. `relevance` is of the candidates, in their order;
    NaN where the cross-encoder did not score one. `searched_query` is the query where rewrites or spelling changed it,
    `understanding` what it states.
    `arranging_since` is the time of the loop's clock when the stages that can be left out had ended, or ought to have;
    0 before. `rules` are the effects of merchandising rules, and `redirect` is where one of them sends the shopper.

    `offset` is how many hits are on earlier pages. `total`, `groups`, `facets` and `next_page_token` are of requests
    that are answered from their match set.
    `person` is what was used of a shopper, of recommendations and of searches with a user.
    `lookup` is the search of the vector index behind it, where that one need not be exact.
    `filter_violations` counts products that a source returned although they fail the filter; no hit is one of them.
    """

    view: CatalogView
    hits: list[Hit] = field(default_factory=list)
    searched_query: str = ""
    understanding: Understanding = field(default_factory=Understanding)
    candidates: CandidateSet = field(default_factory=CandidateSet)
    relevance: Vectors = field(default_factory=lambda: np.zeros(0, np.float32))
    stages: list[StageReport] = field(default_factory=list)
    degraded: list[Degradation] = field(default_factory=list)
    arranging_since: float = 0.0
    rules: tuple[RuleReport, ...] = ()
    redirect: str = ""
    total: Total | None = None
    groups: Total | None = None
    facets: list[FacetCounts] = field(default_factory=list)
    next_page_token: str = ""
    offset: int = 0
    filter: FilterReport | None = None
    filter_violations: int = 0
    person: PersonReport | None = None
    lookup: "Lookup | None" = None

    @contextmanager
    def naming_fallback(self) -> Iterator[None]:
        """Names the calls that the fallback engine answered while the block ran."""
        with collect_notes() as notes:
            yield
        if notes:
            calls = (note.partition(":")[0] for note in notes)
            self.degraded.append(Degradation(ENGINE_FALLBACK, "; ".join(calls), "; ".join(notes)))

    @contextmanager
    def stage(self, name: str, candidates_in: int) -> Iterator[StageReport]:
        """Times a stage and adds it to the result's reports, in the order in which stages start."""
        start = asyncio.get_running_loop().time()
        report = StageReport(name, candidates_in, began=start)
        self.stages.append(report)
        try:
            yield report
        finally:
            report.seconds = asyncio.get_running_loop().time() - start
