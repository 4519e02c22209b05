"""Comparing two evaluations, with values one can follow by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluation.classification import Pairs
from lifecycle.quality.comparison import Comparison, MeasureComparison, compare, plain, side
from lifecycle.quality.evaluate import Evaluation

QUERIES = [f"q{i}" for i in range(12)]
GRADES = {query: {"good": 3.0, "bad": 1.0} for query in QUERIES}


def evaluation(name: str, ndcg: dict[str, float], ranker: bool = True, chance: float = 0.8) -> Evaluation:
    """Every measure has the values of nDCG; the good product has the given chance, the bad one 0.2."""
    stage = {"nDCG@10": ndcg, "MRR@10": ndcg, "recall@100": ndcg, "judged@10": ndcg, "pool nDCG@10": ndcg}
    served = {"retrieval": dict.fromkeys(stage, dict.fromkeys(QUERIES, 0.5)), "reranked": stage}
    values = served if ranker else {"retrieval": stage}
    random = {"random order": {"pool nDCG@10": dict.fromkeys(QUERIES, 0.25)}}
    rankings = {key: {key: [f"{name}-first", "good"] for key in QUERIES} for key in values}
    scores = {key: {key: {"good": chance, "bad": 0.2} for key in QUERIES} for key in values}
    return Evaluation(name, "test", 1.0, 2.0, 0, values | random, GRADES, rankings, GRADES, scores)


def values(value: float, **others: float) -> dict[str, float]:
    return dict.fromkeys(QUERIES, value) | others


def compared(a: Evaluation, b: Evaluation, same: bool = True, **slices: list[str]) -> Comparison:
    return compare(side(a, None, None), side(b, None, None), same, slices, lambda product: f"the {product}")


def row(rows: list[MeasureComparison], name: str, measure: str) -> MeasureComparison:
    [result] = [entry for entry in rows if (entry.name, entry.measure) == (name, measure)]
    return result


def test_what_is_served_is_compared_whatever_stage_that_is() -> None:
    result = compared(evaluation("a", values(0.4), ranker=False), evaluation("b", values(0.6)))
    served = row(result.measures, "served", "nDCG@10")
    assert (served.paired.a, served.paired.b) == (pytest.approx(0.4), pytest.approx(0.6))
    assert row(result.measures, "retrieval", "nDCG@10").paired.b == 0.5
    assert (served.paired.wins, served.paired.losses) == (12, 0)


def test_p_values_are_corrected_over_the_table() -> None:
    result = compared(evaluation("a", values(0.4), ranker=False), evaluation("b", values(0.6)))
    # All 12 signs agree: p = 2 / 2^12 for each of the seven, and Holm multiplies the least by seven.
    assert [entry.paired.p for entry in result.measures] == [pytest.approx(2 / 2**12)] * 7
    assert result.measures[0].p_holm == pytest.approx(7 * 2 / 2**12)


def test_other_catalogs_are_compared_by_pools_alone() -> None:
    result = compared(evaluation("a", values(0.4)), evaluation("b", values(0.6)), same=False, every=QUERIES)
    assert {entry.measure for entry in result.measures + result.slices} == {"pool nDCG@10"}
    assert result.headline == "pool nDCG@10"
    assert result.gains[0].first_b == [("the good", 3.0), ("the bad", 1.0)]


def test_a_slice_holds_its_queries_and_small_ones_are_counted() -> None:
    b = evaluation("b", values(0.5, q0=0.1, q11=0.9))
    result = compared(evaluation("a", values(0.5)), b, without_last=QUERIES[:-1], small=QUERIES[:9])
    assert {entry.name for entry in result.slices} == {"without_last"} and result.small_slices == 1
    entry = row(result.slices, "without_last", "nDCG@10").paired
    assert (entry.difference.queries, entry.wins, entry.losses) == (11, 0, 1)
    assert entry.difference.mean == pytest.approx(-0.4 / 11)


def test_examples_are_the_queries_that_changed_most() -> None:
    b = evaluation("b", values(0.5, q3=0.9, q4=0.6, q7=0.1))
    result = compared(evaluation("a", values(0.5)), b)
    assert [(entry.query, entry.a, entry.b) for entry in result.gains] == [("q3", 0.5, 0.9), ("q4", 0.5, 0.6)]
    assert [entry.query for entry in result.losses] == ["q7"]
    assert result.losses[0].first_a == [("the a-first", None), ("the good", 3.0)]


def test_the_lift_is_over_random_order() -> None:
    assert side(evaluation("a", values(0.6)), None, None).lift.difference.mean == pytest.approx(0.35)


def test_the_cutoff_is_the_valid_splits_best_unless_given() -> None:
    valid = Pairs(np.array([0, 0]), np.array([0.3, 0.7]), np.array([False, True]))
    chosen = side(evaluation("a", values(0.5)), valid, None).trust
    given = side(evaluation("a", values(0.5)), valid, 0.9).trust
    neither = side(evaluation("a", values(0.5)), None, None).trust
    assert chosen and given and neither
    assert (chosen.cutoff, chosen.relevant.f1.mean) == (0.7, 1.0)
    assert (given.cutoff, given.chosen, given.relevant.recall.mean) == (0.9, "given", 0.0)
    assert (neither.cutoff, neither.chosen) == (0.5, "no valid split to choose on")
    # Good products have .8 and are relevant, bad ones .2 and are not.
    assert chosen.calibration_error.mean == pytest.approx(0.2)


def test_without_a_ranker_there_are_no_probabilities() -> None:
    assert side(evaluation("a", values(0.5), ranker=False), None, None).trust is None


def test_json_has_everything_and_no_nan() -> None:
    result = compared(evaluation("a", values(0.5)), evaluation("b", values(0.6)), every=QUERIES).as_json()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["a"]["release_id"] == "a" and result["b"]["trust"]["cutoff"] == 0.5
    assert {entry["name"] for entry in result["slices"]} == {"every"}
    assert plain({"a": [math.nan, 1.0]}) == {"a": [None, 1.0]}


def test_per_query_values_of_both(tmp_path: Path) -> None:
    result = compared(evaluation("a", values(0.5)), evaluation("b", values(0.6, q1=0.1)))
    result.write_per_query(tmp_path / "values.parquet", {"odd": {"q1"}, "all": QUERIES})
    rows = pq.read_table(tmp_path / "values.parquet").to_pylist()
    assert len(rows) == 7 * 12
    expected = {"query": "q1", "stage": "served", "measure": "nDCG@10", "a": 0.5, "b": 0.1, "slices": ["all", "odd"]}
    assert expected in rows
