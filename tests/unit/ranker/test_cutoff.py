"""The cutoff of "nothing fits": the pools it is chosen on, and a shop where it is right."""

import numpy as np

from ranker.calibration import Calibration
from ranker.train.cutoff import cutoff_report, unfit_pools
from ranker.train.validation import Validation, no_similarity
from training.examples import JudgedQueries
from training.settings import TrainingSettings

VALID = JudgedQueries(
    "valid",
    {
        "kettle": {"a": 1.0, "b": 0.0},
        "mug": {"c": 1.0, "d": 0.0, "a": 0.0},
        "yacht": {"a": 0.3, "b": 0.0, "e": 0.0},
        "lamp": {"f": 0.5},
    },
)
SAMPLE = {query: VALID.queries[query] for query in ("kettle", "mug")}
TEXTS = {name: name for name in "abcdef"}
SAME = Calibration(1.0, 0.0, 0.0)


def test_pools_of_nothing_are_judged_so_or_of_other_queries() -> None:
    result = unfit_pools(VALID, SAMPLE, TrainingSettings())
    assert result == {"yacht": VALID.queries["yacht"], "kettle": {"c": 0.0, "d": 0.0}, "mug": {"b": 0.0}}


def test_where_every_product_is_judged_no_pool_is_strange() -> None:
    whole = {query: dict.fromkeys("ab", 1.0) | {"c": 0.0} for query in ("kettle", "mug")}
    assert unfit_pools(JudgedQueries("valid", whole), whole, TrainingSettings()) == {}


def predict_logits(validation: Validation, good: float, poor: float) -> np.ndarray:
    return np.where(validation.relevant, good, poor).astype(np.float32)


def test_a_ranker_that_knows_what_fits_is_right_of_every_query() -> None:
    sample = {f"q{i}": {f"a{i}": 1.0, f"b{i}": 0.0} for i in range(6)}
    valid = JudgedQueries("valid", sample | {"poor": {"a0": 0.0}})
    texts = {name: name for products in sample.values() for name in products}
    sides = [
        (side, predict_logits(side, 2.0, -2.0))
        for grades in (sample, unfit_pools(valid, sample, TrainingSettings()))
        for side in [Validation.from_grades(grades, texts, no_similarity)]
    ]
    result = cutoff_report(SAME, sides)
    assert result is not None and result["value"] == 0.5  # between sigmoid(-2) and sigmoid(2)
    assert result["all"] == {"precision": 1.0, "recall": 1.0, "predicted": 7, "nothing_fits": 7, "queries": 13}
    assert result["judged"] == {"precision": 1.0, "recall": 1.0, "predicted": 1, "nothing_fits": 1, "queries": 7}


def test_without_a_query_that_nothing_fits_there_is_no_cutoff() -> None:
    side = Validation.from_grades(SAMPLE, TEXTS, no_similarity)
    assert cutoff_report(SAME, [(side, predict_logits(side, 2.0, -2.0))]) is None


def test_one_query_alone_tells_no_cutoff_for_others() -> None:
    side = Validation.from_grades({"kettle": {"a": 1.0, "b": 0.0}}, TEXTS, no_similarity)
    other = Validation.from_grades({"kettle": {"c": 0.0}}, TEXTS, no_similarity)
    assert cutoff_report(SAME, [(side, predict_logits(side, 2.0, -2.0)), (other, np.array([-1], np.float32))]) is None


def test_shares_of_nothing_are_none_in_the_report() -> None:
    """Judged queries all fit, so of them there is no recall."""
    sample = {f"q{i}": {f"a{i}": 1.0, f"b{i}": 0.0} for i in range(6)}
    texts = {name: name for products in sample.values() for name in products}
    unfit = unfit_pools(JudgedQueries("valid", sample), sample, TrainingSettings())
    sides = [
        (side, predict_logits(side, 2.0, -2.0))
        for side in (Validation.from_grades(g, texts, no_similarity) for g in (sample, unfit))
    ]
    result = cutoff_report(SAME, sides)
    assert result is not None and result["judged"]["recall"] is None and result["judged"]["precision"] is None
