"""What both trainings share, without torch: relevance, validation samples, the measure, and steps."""

import numpy as np
import pyarrow as pa
import pytest

from core.errors import ModelError
from evaluation.judgments import JUDGMENTS_SCHEMA
from training.examples import JudgedQueries, sample_by_grade, sample_validation, select_split
from training.loop import Curve, total_steps
from training.settings import TrainingSettings

TEXTS = {name: f"text of {name}" for name in "abc"}


def table(*rows: tuple[str, str, float, str]) -> pa.Table:
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


def test_relevance_is_the_place_in_the_range_of_all_grades() -> None:
    judgments = table(
        ("kettle", "a", 3.0, "train"),
        ("kettle", "b", 2.5, "train"),
        ("mug", "c", 1.0, "valid"),
        ("mug", "a", 2.0, "valid"),
    )
    assert select_split(judgments, TEXTS, "train").queries == {"kettle": {"a": 1.0, "b": 0.75}}
    assert select_split(judgments, TEXTS, "valid").queries == {"mug": {"c": 0.0, "a": 0.5}}


def test_products_without_text_are_left_out() -> None:
    judgments = table(("kettle", "a", 3.0, "train"), ("kettle", "gone", 0.0, "train"))
    result = select_split(judgments, TEXTS, "train")
    assert result.queries == {"kettle": {"a": 1.0}}
    assert result.pairs == 1


def test_a_split_with_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="'valid'"):
        select_split(table(("kettle", "a", 3.0, "train"), ("kettle", "b", 0.0, "train")), TEXTS, "valid")


def test_the_validation_sample_takes_queries_up_to_the_bound() -> None:
    queries = {f"q{i}": {"a": 1.0, "b": 0.0, "c": 0.5} for i in range(10)}
    queries["flat"] = {"a": 1.0, "b": 1.0}
    settings = TrainingSettings(validation_pairs=10, seed=1)
    sample = sample_validation(JudgedQueries("valid", queries), settings)
    assert len(sample) == 3
    assert all(products == queries[query] for query, products in sample.items())
    assert "flat" not in sample_validation(JudgedQueries("valid", queries), TrainingSettings())
    assert sample == sample_validation(JudgedQueries("valid", queries), settings)


def test_the_validation_sample_takes_a_few_products_of_every_grade() -> None:
    products = {f"p{i}": (0.0, 0.0, 0.0, 0.5, 1.0)[i % 5] for i in range(50)}
    sample = sample_validation(JudgedQueries("valid", {"q": products}), TrainingSettings(validation_products=6))
    assert sorted(sample["q"].values()) == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


def test_a_spread_takes_each_grade_in_turn() -> None:
    products = {**{f"low{i}": 0.0 for i in range(50)}, "middle": 0.5, "high": 1.0}
    result = sample_by_grade(products, 4, np.random.default_rng(0))
    assert result[:2] == ["high", "middle"]
    assert sum(name.startswith("low") for name in result) == 2


def test_the_validation_sample_needs_something_to_rank() -> None:
    with pytest.raises(ModelError, match="two different grades"):
        sample_validation(JudgedQueries("valid", {"q": {"a": 1.0, "b": 1.0}}), TrainingSettings())


def test_steps_follow_examples_epochs_and_the_limit() -> None:
    assert total_steps(100, TrainingSettings(batch_size=32)) == 3
    assert total_steps(100, TrainingSettings(batch_size=10, epochs=2.5)) == 25
    assert total_steps(100, TrainingSettings(batch_size=10, max_steps=4)) == 4
    assert total_steps(1, TrainingSettings(batch_size=32)) == 1


def test_the_best_step_is_the_earliest_of_the_highest() -> None:
    assert Curve(scores=[(0, 0.1), (5, 0.7), (10, 0.7), (15, 0.6)]).best == (5, 0.7)
