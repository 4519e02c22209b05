"""Two releases on the same judgments: what differs, for which queries, and how good their probabilities are."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from evaluation.classification import (
    Bin,
    Pairs,
    Report,
    best_cutoff,
    calibration_error,
    nothing_fits,
    reliability,
    report,
)
from evaluation.comparison import PairedComparison, holm, paired
from evaluation.measures import Estimate, Grades, Rankings
from lifecycle.quality.evaluate import RANDOM, RERANKED, RETRIEVED, Evaluation, orders

SERVED = "served"
NDCG, MRR, RECALL, POOL = "nDCG@10", "MRR@10", "recall@100", "pool nDCG@10"
LEAST_QUERIES = 10  # of a slice that is reported
_EXAMPLES = 5
_FIRST = 3  # products of an example


@dataclass(frozen=True, slots=True)
class ProbabilityQuality:
    """The quality of a release's probabilities of relevance on the judged pools, and their cutoff.

    `chosen` names the source of the cutoff.
    """

    cutoff: float
    chosen: str
    relevant: Report
    nothing_fits: Report
    calibration_error: Estimate
    reliability: list[Bin]


@dataclass(frozen=True, slots=True)
class ReleaseQuality:
    """One of the two releases. `trust` is None without a ranker; `lift` is from random order to the served one."""

    evaluation: Evaluation
    trust: ProbabilityQuality | None
    lift: PairedComparison


@dataclass(frozen=True, slots=True)
class MeasureComparison:
    """A measure compared over a stage's or a slice's queries; `p_holm` is corrected over the rows of its table."""

    name: str
    measure: str
    paired: PairedComparison
    p_holm: float


@dataclass(frozen=True, slots=True)
class Example:
    """A query, its value with either release, and either's first products with their grades, None where unjudged."""

    query: str
    a: float
    b: float
    first_a: list[tuple[str, float | None]]
    first_b: list[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between A and B.

    Over different catalogs only the pools of products that both hold are compared. `small_slices` had too few queries
    to be reported.
    """

    a: ReleaseQuality
    b: ReleaseQuality
    same_catalog: bool
    headline: str
    measures: list[MeasureComparison]
    slices: list[MeasureComparison]
    small_slices: int
    gains: list[Example]
    losses: list[Example]

    def as_json(self) -> dict:
        """The whole comparison; NaN becomes null."""
        rows = {
            name: [asdict(row) for row in getattr(self, name)] for name in ("measures", "slices", "gains", "losses")
        }
        return plain(
            {"a": _side(self.a), "b": _side(self.b), "same_catalog": self.same_catalog, "headline": self.headline}
            | {"small_slices": self.small_slices}
            | rows
        )

    def write_per_query(self, path: Path, slices: Mapping[str, Collection[str]]) -> None:
        """A Parquet of `query`, `stage`, `measure`, `a`, `b` and the `slices` the query is in."""
        member = {q: sorted(name for name, queries in slices.items() if q in queries) for q in self.b.evaluation.grades}
        rows = [
            {"query": q, "stage": stage, "measure": name, "a": first[q], "b": second[q], "slices": member[q]}
            for stage, name in _compared(self.same_catalog)
            for first, second in [[_values(side.evaluation, stage, name) for side in (self.a, self.b)]]
            for q in first.keys() & second.keys()
        ]
        fields = dict.fromkeys(("query", "stage", "measure"), pa.string()) | dict.fromkeys("ab", pa.float64())
        schema = pa.schema(fields | {"slices": pa.list_(pa.string())})
        pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def side(
    evaluation: Evaluation, valid: Pairs | None, cutoff: float | None = None, own: float | None = None
) -> ReleaseQuality:
    """A release with the quality of its probabilities.

    The cutoff, if not given, is its own, or else has the best F1 on the valid pairs.
    """
    lift = paired(evaluation.values[RANDOM][POOL], evaluation.values[evaluation.served][POOL])
    if RERANKED not in evaluation.values:
        return ReleaseQuality(evaluation, None, lift)
    pairs = Pairs.from_pools(evaluation.pools, evaluation.scores[RERANKED], evaluation.relevant)
    if cutoff is not None:
        chosen = "given"
    elif own is not None:
        cutoff, chosen = own, "the ranker's own"
    elif valid is not None:
        cutoff, chosen = best_cutoff(valid), "best F1 on valid"
    else:
        cutoff, chosen = 0.5, "no valid split to choose on"
    reports = report(pairs, cutoff), nothing_fits(pairs, cutoff)
    return ReleaseQuality(
        evaluation, ProbabilityQuality(cutoff, chosen, *reports, calibration_error(pairs), reliability(pairs)), lift
    )


def compare(
    a: ReleaseQuality,
    b: ReleaseQuality,
    same_catalog: bool,
    slices: Mapping[str, Collection[str]],
    title: Callable[[str], str],
) -> Comparison:
    """Compares B with A, both evaluated on the same queries; `title` names a product in examples."""
    headline = NDCG if same_catalog else POOL
    large = {name: queries for name, queries in slices.items() if len(queries) >= LEAST_QUERIES}
    both = a.evaluation, b.evaluation
    stages = tested({(stage, name): _pair(*both, stage, name) for stage, name in _compared(same_catalog)})
    slice_pairs = {
        (slice_name, name): _pair(*both, SERVED, name, queries)
        for slice_name, queries in sorted(large.items())
        for name in _slice_measures(same_catalog)
    }
    gains, losses = _examples(*both, headline, title)
    rest = len(slices) - len(large)
    return Comparison(a, b, same_catalog, headline, stages, tested(slice_pairs), rest, gains, losses)


def plain(value: Any) -> Any:
    """Replaces NaN by None, as JSON has no NaN."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value


def _compared(same_catalog: bool) -> list[tuple[str, str]]:
    """Stages and measures that are tested. Reranking changes no recall@100, and judged@10 is no quality."""
    catalog = [(RETRIEVED, NDCG), (RETRIEVED, MRR), (RETRIEVED, RECALL), (SERVED, NDCG), (SERVED, MRR)]
    return [*(catalog if same_catalog else []), (RETRIEVED, POOL), (SERVED, POOL)]


def _slice_measures(same_catalog: bool) -> tuple[str, ...]:
    return (NDCG, RECALL, POOL) if same_catalog else (POOL,)


def _values(evaluation: Evaluation, stage: str, measure: str) -> dict[str, float]:
    return evaluation.values[evaluation.served if stage == SERVED else stage][measure]


def _pair(
    a: Evaluation, b: Evaluation, stage: str, measure: str, queries: Collection[str] | None = None
) -> PairedComparison:
    first, second = _values(a, stage, measure), _values(b, stage, measure)
    return paired({q: v for q, v in first.items() if queries is None or q in queries}, second)


def tested(comparisons: Mapping[tuple[str, str], PairedComparison]) -> list[MeasureComparison]:
    """Rows by name and measure, their p-values corrected over all of them."""
    corrected = holm({key: entry.p for key, entry in comparisons.items()})
    return [MeasureComparison(*key, entry, corrected[key]) for key, entry in comparisons.items()]


def compare_examples(
    values: tuple[Mapping[str, float], Mapping[str, float]],
    lists: tuple[Rankings, Rankings],
    grades: Grades,
    title: Callable[[str], str],
    count: int = _EXAMPLES,
) -> tuple[list[Example], list[Example]]:
    """The queries where B is most ahead of A, and those where it is most behind, with the first products of either."""
    first, second = values

    def example(query: str) -> Example:
        tops = [
            [(title(product), grades[query].get(product)) for product in ranking.get(query, ())[:_FIRST]]
            for ranking in lists
        ]
        return Example(query, first[query], second[query], *tops)

    ordered = sorted(first.keys() & second.keys(), key=lambda q: (first[q] - second[q], q))
    gains = [example(q) for q in ordered[:count] if second[q] > first[q]]
    return gains, [example(q) for q in ordered[::-1][:count] if second[q] < first[q]]


def _examples(
    a: Evaluation, b: Evaluation, measure: str, title: Callable[[str], str]
) -> tuple[list[Example], list[Example]]:
    """The queries that gained most, and those that lost most."""
    first, second = ((orders(e.scores[e.served]) if measure == POOL else e.rankings[e.served]) for e in (a, b))
    return compare_examples(
        (_values(a, SERVED, measure), _values(b, SERVED, measure)), (first, second), a.grades, title
    )


def _side(entry: ReleaseQuality) -> dict:
    trust = asdict(entry.trust) if entry.trust else None
    return entry.evaluation.as_json() | {"lift_over_random": asdict(entry.lift), "trust": trust}
