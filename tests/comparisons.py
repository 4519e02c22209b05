"""Comparisons of two releases with a figure or two of one's own choice; all else speaks for B."""

from evaluation.classification import Report
from evaluation.comparison import PairedComparison
from evaluation.measures import Estimate
from lifecycle.quality.comparison import Comparison, MeasureComparison, ProbabilityQuality, ReleaseQuality
from lifecycle.quality.evaluate import Evaluation

NONE = Estimate(0.5, 0.5, 0.5, 9)


def pair(mean: float, low: float, queries: int = 100, p: float = 0.01) -> PairedComparison:
    return PairedComparison(0.5, 0.5 + mean, Estimate(mean, low, mean + 0.01, queries), p, 1, 1, 1)


def a_side(name: str, lift: PairedComparison, error: float | None) -> ReleaseQuality:
    report = Report(NONE, NONE, NONE, 1, 1, 2)
    trust = None if error is None else ProbabilityQuality(0.5, "given", report, report, Estimate(error, 0, 1, 9), [])
    return ReleaseQuality(Evaluation(name, "test", 1.0, 2.0, 0, {}), trust, lift)


def comparison(
    ndcg: PairedComparison | None = None,
    recall: PairedComparison | None = None,
    lift: PairedComparison | None = None,
    error: float | None = 0.05,
    slices: dict[str, PairedComparison] | None = None,
) -> Comparison:
    fine = pair(0.02, 0.01)
    stages = [
        MeasureComparison("served", "nDCG@10", ndcg or fine, 1),
        MeasureComparison("served", "pool nDCG@10", fine, 1),
        MeasureComparison("retrieval", "recall@100", recall or fine, 1),
    ]
    rows = [MeasureComparison(name, "nDCG@10", result, 1) for name, result in (slices or {"every": fine}).items()]
    a, b = a_side("r-a", fine, None), a_side("r-b", lift or fine, error)
    return Comparison(a, b, True, "nDCG@10", stages, rows, 0, [], [])
