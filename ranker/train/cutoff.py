"""Below which probability a query's best product means that nothing fits, and how often that is right.

Few judged queries have nothing that fits (30 of 1,144 of Home Depot's). So every validation query is also paired
with products of other queries. Those are easier to refuse than what retrieval finds for a query that the shop has
nothing for: read the figures of judged queries alone beside those of all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.classification import Flags, Numbers, Pairs, Report, nothing_cutoff, nothing_fits
from evaluation.measures import Grades
from ranker.calibration import Calibration
from ranker.train.validation import Logits, Validation, folds
from training.examples import GOOD, JudgedQueries, sample_by_grade
from training.settings import TrainingSettings


def unfit_pools(valid: JudgedQueries, sample: Grades, settings: TrainingSettings) -> Grades:
    """Pools without a product that fits: judged so, or as many of other queries' products as a query of the sample has.

    The judged ones are of queries outside of the sample, at most as many as it has queries.
    """
    random = np.random.default_rng(settings.seed)
    unfit = [
        query for query, products in valid.queries.items() if query not in sample and max(products.values()) < GOOD
    ]
    pools = {}
    for place in random.permutation(len(unfit))[: len(sample)]:
        graded = valid.queries[unfit[place]]
        pools[unfit[place]] = {
            name: graded[name] for name in sample_by_grade(graded, settings.validation_products, random)
        }
    everything = sorted({product for products in sample.values() for product in products})
    for query, products in sample.items():
        others = [everything[place] for place in random.permutation(len(everything))]
        strange = [name for name in others if name not in valid.queries[query]][: len(products)]
        if strange:
            pools[query] = dict.fromkeys(strange, 0.0)
    return pools


def cutoff_report(calibration: Calibration, sides: Sequence[tuple[Validation, Logits]]) -> dict[str, Any] | None:
    """The cutoff with the best F1 of predicting that nothing fits, and precision and recall on held-out queries.

    Sides are pools and the logits of their pairs: those of the sample, and of `unfit_pools` where there are any. None
    where no cutoff separates queries.
    """
    names = [query for validation, _ in sides for query in validation.grades]
    numbers = np.unique(names, return_inverse=True)[1]
    pools = [_best(calibration, *side) for side in sides]
    best, fits = (np.concatenate(parts) for parts in zip(*pools, strict=True))
    cutoff = nothing_cutoff(best, fits)
    if cutoff is None or numbers.max() == 0:
        return None
    margins = _margins(best, fits, numbers)
    cases = np.arange(len(names))
    judged = np.array(
        [place < len(sides[0][0].grades) or name not in sides[0][0].grades for place, name in enumerate(names)]
    )
    parts = {"all": np.full(len(names), True), "judged": judged}
    shares = {name: nothing_fits(Pairs(cases[some], margins[some], fits[some]), 0.0) for name, some in parts.items()}
    return {"value": cutoff} | {name: _report_json(share) for name, share in shares.items()}


def _best(calibration: Calibration, validation: Validation, logits: Logits) -> tuple[Numbers, Flags]:
    """Each query's best probability, and whether any of its products fits."""
    chances = calibration.probabilities(logits, validation.similarities).astype(np.float64)
    starts = np.flatnonzero(np.diff(validation.queries, prepend=-1))
    return np.maximum.reduceat(chances, starts), np.logical_or.reduceat(validation.relevant, starts)


def _margins(best: Numbers, fits: Flags, queries: NDArray[np.int64]) -> Numbers:
    """How far each best lies above a cutoff that was chosen without its query, shape (n,)."""
    margins = np.ones(len(best))
    for fold in folds(queries):
        cutoff = nothing_cutoff(best[~fold], fits[~fold])
        if cutoff is not None:
            margins[fold] = best[fold] - cutoff
    return margins


def _report_json(report: Report) -> dict[str, Any]:
    """Undefined shares become None, as JSON has no NaN."""
    shares = {"precision": report.precision.mean, "recall": report.recall.mean}
    defined = {name: None if np.isnan(value) else value for name, value in shares.items()}
    return defined | {"predicted": report.predicted, "nothing_fits": report.actual, "queries": report.queries}
