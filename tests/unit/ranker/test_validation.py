"""The pairs that a ranker is validated by: their numbers by hand, and probabilities that saw nothing of their query."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelError
from ranker.ranker import SPEC_FILE, Ranker
from ranker.train.validation import (
    RankingValidation,
    Validation,
    calibration_report,
    errors,
    folds,
    no_similarity,
    reliability_report,
)
from training.examples import Examples, JudgedQueries

GRADES = {"kettle": {"a": 1.0, "b": 0.4}, "mug": {"a": 0.5, "c": 0.0, "b": 1.0}}
TEXTS = {name: f"text {name}" for name in "abc"}


def validation(queries: int, seed: int = 0) -> tuple[Validation, np.ndarray]:
    """Each with ten products, whose logits are more sure of themselves than they should be."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=(queries, 10))
    relevant = random.random(truth.shape) < 1 / (1 + np.exp(-truth))
    grades = {f"q{i}": {f"p{j}": float(relevant[i, j]) for j in range(10)} for i in range(queries)}
    texts = {f"p{j}": str(j) for j in range(10)}
    return Validation.from_grades(grades, texts, no_similarity), (4 * truth).ravel().astype(np.float32)


def test_pairs_labels_and_queries_lie_one_after_another() -> None:
    result = Validation.from_grades(GRADES, TEXTS, no_similarity)
    assert result.pairs == [(query, f"text {name}") for query, products in GRADES.items() for name in products]
    assert result.labels.tolist() == [1.0, 0.4, 0.5, 0.0, 1.0]
    assert result.queries.tolist() == [0, 0, 1, 1, 1]
    assert result.relevant.tolist() == [True, False, True, False, True]


def test_no_query_is_in_two_folds() -> None:
    groups = np.repeat(np.arange(7), 3)
    parts = list(folds(groups))
    assert len(parts) == 5 and (np.sum(parts, axis=0) == 1).all()
    assert all(len({*groups[fold]} & {*groups[~fold]}) == 0 for fold in parts)
    assert len(list(folds(np.array([0, 0, 1])))) == 2


def test_calibration_mends_what_is_too_sure_of_itself() -> None:
    result, logits = validation(60)
    logged = calibration_report(result, logits)
    for method in ("platt", "isotonic"):
        for measure in ("expected_calibration_error", "brier"):
            assert logged[method][measure] < logged["none"][measure]  # type: ignore[index]
    assert logged["platt"]["expected_calibration_error"] < 0.06  # type: ignore[index]


def test_probabilities_of_a_query_hang_on_others_alone() -> None:
    result, logits = validation(2)
    one, two = (result.held_out(logits, "isotonic") for _ in range(2))
    assert one is not None and two is not None
    other = Validation(
        result.grades | {"q1": {name: 1 - value for name, value in result.grades["q1"].items()}},
        result.pairs,
        result.similarities,
    )
    changed = other.held_out(logits, "isotonic")
    assert changed is not None
    np.testing.assert_array_equal(changed.probabilities[10:], one.probabilities[10:])
    assert not np.array_equal(changed.probabilities[:10], one.probabilities[:10])


def test_of_a_single_query_nothing_can_be_held_out() -> None:
    result, logits = validation(1)
    assert result.held_out(logits, "platt") is None
    assert calibration_report(result, logits)["platt"] is None


def test_errors_by_hand() -> None:
    result = Validation.from_grades({"kettle": {"a": 1.0, "b": 0.0}}, TEXTS, no_similarity)
    pairs = result.uncalibrated(np.array([np.log(3), 0.0], np.float32))  # 3/4 and 1/2
    assert errors(pairs) == pytest.approx(
        {"expected_calibration_error": (0.25 + 0.5) / 2, "brier": (1 / 16 + 1 / 4) / 2}
    )
    stated = reliability_report(pairs)
    assert [(entry["pairs"], entry["probability"], entry["relevant"]) for entry in stated["bins"]] == [
        (1, 0.5, 0.0),
        (1, pytest.approx(0.75), 1.0),
    ]
    json.dumps(stated)


@pytest.mark.parametrize("knots", [[[0, 0.5], [1, 0.4]], [[0, 0.1], [0, 0.2]], [[0, -0.1], [1, 1]], [[0, 0], [1, 1.1]]])
def test_knots_that_do_not_rise_are_refused(knots: list[list[float]], tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).write_text(json.dumps({"precision": "fp32", "base": "toy", "knots": knots}))
    with pytest.raises(ModelError, match="knots"):
        Ranker.open(tmp_path)


def test_what_retrieval_found_stands_beside_the_judged_and_gains_nothing() -> None:
    side = Validation.from_grades({"kettle": {"a": 1.0, "b": 0.0}}, TEXTS | {"c": "steel mug"}, no_similarity)
    known = JudgedQueries("valid", {"kettle": {"a": 1.0, "b": 0.0, "d": 0.5}})
    retrieved = {"kettle": ["a", "c", "d", "gone"], "hose": ["a"]}
    texts = TEXTS | {"c": "steel mug", "d": "kettle lid"}
    validation = RankingValidation.from_examples(side, Examples(texts, known, known, retrieved=retrieved))
    assert validation.others == [("kettle", "steel mug")]
    assert validation.pairs == [*side.pairs, ("kettle", "steel mug")]
    # the good product at rank 1, then behind the unjudged one at rank 2: 1 / log2(3)
    assert validation.ndcg(np.array([2.0, -2.0, 0.0], np.float32)) == pytest.approx(1.0)
    assert validation.ndcg(np.array([2.0, -2.0, 9.0], np.float32)) == pytest.approx(1 / np.log2(3), abs=1e-6)


def test_without_found_products_it_is_the_measure_of_the_judged_pools() -> None:
    # Gains are 2^relevance - 1: a 1, b 2^0.5 - 1, c 0. The logits order c, a, b.
    side = Validation.from_grades({"q": {"a": 1.0, "b": 0.5, "c": 0.0}}, TEXTS, no_similarity)
    ideal = 1 + (np.sqrt(2) - 1) / np.log2(3)
    reached = 1 / np.log2(3) + (np.sqrt(2) - 1) / np.log2(4)
    known = JudgedQueries("valid", {"q": {"a": 1.0, "b": 0.5, "c": 0.0}})
    validation = RankingValidation.from_examples(side, Examples({}, known, known))
    assert validation.pairs == side.pairs
    assert validation.ndcg(np.array([2.0, 1.0, 3.0], np.float32)) == pytest.approx(reached / ideal, abs=1e-3)
