"""What the ranker learns from, by hand: judged, mined and random products, and the lists they are dealt into."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ModelError
from ranker.train.examples import Labels, training_labels, training_lists, training_pairs
from ranker.train.settings import RankerTraining
from training.examples import Examples, JudgedQueries

TRAIN = JudgedQueries("train", {"kettle": {"a": 1.0, "b": 0.5, "c": 0.3}, "mug": {"d": 1.0, "e": 0.0}})
TEXTS = {name: f"text {name}" for name in "abcdefgh"}
NONE_RANDOM = RankerTraining(random_negatives=0)


def labels(negatives: dict[str, list[str]], settings: RankerTraining = NONE_RANDOM, **more: object) -> Labels:
    return training_labels(Examples(TEXTS, TRAIN, TRAIN, negatives=negatives, **more), settings)  # type: ignore[arg-type]


def test_mined_products_are_irrelevant_unless_somebody_judged_them() -> None:
    result = labels({"kettle": ["a", "b", "f", "f", "gone"], "mug": ["g", "h", "e"], "lamp": ["a"]})
    assert result == {
        "kettle": TRAIN.queries["kettle"] | {"f": 0.0},
        "mug": TRAIN.queries["mug"] | {"g": 0.0, "h": 0.0},
    }


def test_a_product_judged_poor_keeps_its_grade_as_a_negative() -> None:
    few = RankerTraining(random_negatives=0, judgments=1)
    result = labels(
        {"kettle": ["b", "c", "f"]}, few, teacher=lambda queries, texts: np.full(len(texts), 0.9, np.float32)
    )
    drawn = result["kettle"]
    assert drawn.pop("f") == pytest.approx(0.9)
    assert drawn.items() <= TRAIN.queries["kettle"].items() and "c" in drawn


def test_at_most_so_many_are_drawn_and_the_same_ones_again() -> None:
    settings = RankerTraining(random_negatives=0, hard_negatives=2)
    result = labels({"mug": ["f", "g", "h", "a"]}, settings)
    assert len(result["mug"]) == 4 and result == labels({"mug": ["f", "g", "h", "a"]}, settings)
    assert labels({"mug": ["f", "g"]}, RankerTraining(random_negatives=0, hard_negatives=0)) == dict(TRAIN.queries)


def test_the_teacher_says_how_good_the_unjudged_ones_are() -> None:
    pairs: list[tuple[str, str]] = []

    def teacher(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        pairs.extend(zip(queries, texts, strict=True))
        return np.array([0.75 if text == "text g" else 0.25 for text in texts], np.float32)

    result = labels({"kettle": ["f"], "mug": ["g", "e"]}, teacher=teacher)
    assert pairs == [("kettle", "text f"), ("mug", "text g")]
    assert result["kettle"]["f"] == 0.25 and result["mug"]["g"] == 0.75 and result["mug"]["e"] == 0.0


@pytest.mark.parametrize("probabilities", [[0.5, 0.5], [1.1], [float("nan")]])
def test_a_teacher_that_gives_no_probabilities_is_refused(probabilities: list[float]) -> None:
    with pytest.raises(ModelError, match="one probability"):
        labels({"kettle": ["f"]}, teacher=lambda queries, texts: np.array(probabilities, np.float32))


def test_random_products_are_of_other_queries_and_irrelevant() -> None:
    result = labels({}, RankerTraining(random_negatives=50))
    assert result["kettle"] == TRAIN.queries["kettle"] | {"d": 0.0, "e": 0.0}


def test_pairs_are_rows() -> None:
    assert training_pairs({"kettle": {"a": 1.0, "b": 0.5}}, TEXTS).to_list() == [
        {"query": "kettle", "product": "text a", "label": 1.0},
        {"query": "kettle", "product": "text b", "label": 0.5},
    ]


def test_lists_share_every_label() -> None:
    graded = {"kettle": dict(zip("abcdef", [1, 1, 0.5, 0.5, 0, 0], strict=True))}
    rows = training_lists(graded, TEXTS, RankerTraining(list_length=4)).to_list()
    assert [sorted(row["labels"]) for row in rows] == [[0, 0.5, 1], [0, 0.5, 1]]
    assert all(graded["kettle"][text[-1]] == label for row in rows for text, label in zip(*_sides(row), strict=True))


def test_lists_without_an_order_are_left_out_where_only_order_is_taught() -> None:
    graded = {"kettle": {"a": 1.0, "b": 0.0}, "mug": {"d": 0.5, "e": 0.5}}
    both = training_lists(graded, TEXTS, RankerTraining()).to_list()
    assert [row["query"] for row in both] == ["kettle", "mug"]
    [one] = training_lists(graded, TEXTS, RankerTraining(bce_weight=0)).to_list()
    assert one["query"] == "kettle"
    with pytest.raises(ModelError, match="train with loss 'bce'"):
        training_lists({"mug": graded["mug"]}, TEXTS, RankerTraining(bce_weight=0))


@given(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=40), st.integers(2, 9), st.integers(0, 9))
def test_lists_hold_every_product_once_and_never_too_many(values: list[float], length: int, seed: int) -> None:
    graded = {"q": {f"p{i}": value for i, value in enumerate(values)}}
    texts = {name: name for name in graded["q"]}
    rows = training_lists(graded, texts, RankerTraining(list_length=length, seed=seed)).to_list()
    assert Counter(name for row in rows for name in row["products"]) == Counter(list(graded["q"]))
    sizes = [len(row["products"]) for row in rows]
    assert max(sizes) <= length and max(sizes) - min(sizes) <= 1


def test_the_order_of_a_list_does_not_tell_its_labels() -> None:
    graded = {f"q{i}": {"a": 1.0, "b": 0.0} for i in range(200)}
    rows = training_lists(graded, TEXTS, RankerTraining()).to_list()
    assert 0.35 < np.mean([row["labels"][0] for row in rows]) < 0.65


def _sides(row: dict) -> tuple[list[str], list[float]]:
    return row["products"], row["labels"]
