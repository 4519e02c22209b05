"""Stages of one release compared, by hand."""

import io

import pytest
from rich.console import Console

from lifecycle.cli.show_comparison import show_stages
from lifecycle.quality.evaluate import FINAL, RANDOM, RETRIEVED, WORDS, Evaluation
from lifecycle.quality.stages import StageComparison, compare_stages

QUERIES = [f"q{number}" for number in range(12)]


def evaluation() -> Evaluation:
    """The final order is right everywhere, the towers' in two of three queries, that of words nowhere but in q0."""
    right = {
        FINAL: dict.fromkeys(QUERIES, 1.0) | {"q0": 0.5},
        RETRIEVED: {query: float(place % 3 > 0) for place, query in enumerate(QUERIES)},
        WORDS: dict.fromkeys(QUERIES, 0.0) | {"q0": 1.0},
    }
    values = {
        stage: {name: dict(by_query) for name in ("nDCG@10", "recall@100", "pool nDCG@10")}
        for stage, by_query in right.items()
    }
    values[RANDOM] = {"pool nDCG@10": dict.fromkeys(QUERIES, 0.2)}
    rankings = {
        stage: {query: ["good" if by_query[query] else "bad"] for query in QUERIES} for stage, by_query in right.items()
    }
    return Evaluation("r-1", "test", 0, 1, 0, values, {query: {"good": 1.0} for query in QUERIES}, rankings)


@pytest.fixture
def stages() -> StageComparison:
    slices = {"even": {"q0", "q2"}, "all": set(QUERIES)}
    return compare_stages(evaluation(), slices, str.upper)


def test_each_stage_is_paired_with_the_served_one(stages: StageComparison) -> None:
    rows = {(row.name, row.measure): row for row in stages.rows}
    assert {name for name, _ in rows} == {RETRIEVED, WORDS}
    towers = rows[RETRIEVED, "nDCG@10"].paired
    assert (towers.a, towers.b) == pytest.approx((8 / 12, 11.5 / 12))
    assert (towers.wins, towers.losses, towers.ties) == (4, 0, 8)
    assert all(row.p_holm >= row.paired.p for row in stages.rows)


def test_slices_have_every_stage_and_small_ones_are_left_out(stages: StageComparison) -> None:
    assert set(stages.slices) == {"all"}
    assert {stage: entry.mean for stage, entry in stages.slices["all"].items()} == pytest.approx(
        {RETRIEVED: 8 / 12, WORDS: 1 / 12, FINAL: 11.5 / 12}
    )


def test_examples_tell_where_one_is_ahead(stages: StageComparison) -> None:
    [loss] = stages.losses[WORDS]
    assert (loss.query, loss.a, loss.b) == ("q0", 1.0, 0.5)
    assert loss.first_a == loss.first_b == [("GOOD", 1.0)]
    assert [example.query for example in stages.gains[WORDS]] == ["q1", "q10"]
    assert stages.gains[WORDS][0].first_a == [("BAD", None)]
    assert stages.losses[RETRIEVED] == []


def test_all_of_it_is_shown_and_given_as_json(stages: StageComparison) -> None:
    console = Console(file=io.StringIO(), width=160)
    show_stages(console, stages, FINAL)
    message = console.file.getvalue()  # type: ignore[attr-defined]
    assert "final most ahead of words" in message and "final most behind words" in message and "0.667" in message
    result = stages.as_json()
    assert len(result["against_served"]) == 6
    assert result["slices"]["all"][WORDS]["queries"] == len(QUERIES)
