"""Rows to learn from: which negatives they take, in which order, and what does not count as one."""

import numpy as np
import pytest

from core.errors import ModelError
from encoder.train.examples import TrainingRows, training_rows
from encoder.train.false_negatives import FalseNegatives
from encoder.train.settings import EncoderTraining
from training.examples import JudgedQueries

TEXTS = {name: f"text of {name}" for name in "abcdefgh"}


def examples(queries: dict[str, dict[str, float]], mined: dict[str, list[str]], **given: int) -> TrainingRows:
    return training_rows(JudgedQueries("train", queries), TEXTS, EncoderTraining(**given), {}, mined)


def test_mined_negatives_and_judged_ones_alternate_and_come_before_any() -> None:
    judged = {"q": {"a": 1.0, "b": 0.0}, "other": {"c": 1.0, "d": 0.0}}
    result = examples(judged, {"q": ["g", "f"]}, negatives=4)
    row = result.products[result.queries.index("q")]
    assert row[:4] == ["a", "g", "b", "f"]
    assert row[4] in "bcd"
    assert result.rows[0]["negative_1"] == "text of b"


def test_rows_of_a_query_share_out_its_judged_negatives() -> None:
    result = examples({"q": {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}, "r": {"e": 1.0, "f": 0.0}}, {}, negatives=1)
    assert {row[1] for query, row in zip(result.queries, result.products, strict=True) if query == "q"} == {"c", "d"}


def test_rows_of_a_query_take_turns_at_its_mined_negatives() -> None:
    result = examples({"q": {"a": 1.0, "b": 1.0, "c": 1.0}, "r": {"d": 1.0}}, {"q": ["e", "f", "g", "h"]}, negatives=2)
    rows = [row[1:] for query, row in zip(result.queries, result.products, strict=True) if query == "q"]
    assert rows == [["e", "f"], ["g", "h"], ["e", "f"]]


def test_no_mined_negative_is_judged_good_or_without_a_text() -> None:
    judged = {"q": {"a": 1.0, "b": 0.6}, "r": {"d": 1.0, "e": 0.0}}
    result = examples(judged, {"q": ["b", "gone", "h", "h"]}, negatives=2)
    assert len(result) == 3
    for query, row in zip(result.queries, result.products, strict=True):
        if query == "q":
            assert row[1] == "h" and row[2] in "de"


def test_without_mined_negatives_rows_are_what_they_were() -> None:
    judged = {"q": {"a": 1.0, "b": 0.0}, "other": {"c": 1.0}}
    assert examples(judged, {}, negatives=2).products == examples(judged, {"stranger": ["h"]}, negatives=2).products


def test_rows_are_numbered() -> None:
    assert examples({"q": {"a": 1.0, "b": 1.0}}, {}, negatives=0).rows["label"][:] == [0, 1]


def test_a_query_whose_every_product_is_good_has_no_negatives() -> None:
    with pytest.raises(ModelError, match="nothing to learn"):
        examples({"q": {"a": 1.0, "b": 1.0}}, {}, negatives=1)
    assert len(examples({"q": {"a": 1.0, "b": 1.0}}, {"q": ["c"]}, negatives=1)) == 2


def test_what_is_judged_an_answer_or_a_twin_is_a_false_negative() -> None:
    judged = JudgedQueries(
        "train", {"q": {"a": 1.0, "b": 0.4, "c": 0.0}, "r": {"b": 1.0}, "s": {"c": 1.0}, "t": {"d": 1.0}}
    )
    texts = TEXTS | {"d": "Text of  A"}  # the words of a
    rows = training_rows(judged, texts, EncoderTraining(negatives=0), {}, {})
    assert rows.queries == ["q", "r", "s", "t"]
    result = FalseNegatives(rows, judged, texts)(np.arange(4), np.arange(4))
    # q: its own, b is middling for it, c is poor, d has the words of a.
    assert result.tolist() == [
        [True, True, False, True],
        [False, True, False, False],
        [False, False, True, False],
        [True, False, False, True],
    ]


def test_columns_of_negatives_follow_the_good_products() -> None:
    judged = JudgedQueries("train", {"q": {"a": 1.0, "b": 0.0}, "r": {"c": 1.0, "a": 0.0, "b": 0.4}})
    rows = training_rows(judged, TEXTS, EncoderTraining(negatives=1), {}, {})
    assert rows.products == [["a", "b"], ["c", "a"]]
    result = FalseNegatives(rows, judged, TEXTS)(np.array([1]), np.array([0, 1]))
    assert result.tolist() == [[False, True, True, False]]  # a, c, then b, which r's judges find middling, a
