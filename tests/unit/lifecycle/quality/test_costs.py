"""What stages gain and take, by hand."""

import pytest
from doubles import make_release
from rich.console import Console

from core.plan import Plan
from core.progress import ignore
from lifecycle.cli.show_comparison import show_costs
from lifecycle.quality.costs import FINAL, FUSED, PRERANK, RESCORING, TOWERS, WORDS, stage_costs, time_stages

VALUES = {
    WORDS: {"a": 0.2, "b": 0.4},
    TOWERS: {"a": 0.3, "b": 0.1},
    FUSED: {"a": 0.4, "b": 0.4},
    PRERANK: {"a": 0.5, "b": 0.5},
    RESCORING: {"a": 0.1, "b": 0.5},
    FINAL: {"a": 0.6, "b": 0.5},
}
QUICK = {"lexical": 0.002, "encode": 0.003, "retrieve": 0.001, "fuse": 0.001, "prerank": 0.0005, "arrange": 0.0005}


def test_each_stage_is_paired_with_the_one_before_and_timed_by_its_median() -> None:
    seconds = [QUICK | {"rescore": 0.02}, QUICK | {"rescore": 0.03}, QUICK | {"rescore": 0.5}]
    costs = {cost.stage: cost for cost in stage_costs(VALUES, seconds)}
    assert list(costs) == [WORDS, TOWERS, FUSED, PRERANK, RESCORING, FINAL]
    assert {name: cost.over for name, cost in costs.items()} == {
        WORDS: None,
        TOWERS: None,
        FUSED: WORDS,  # the better source
        PRERANK: FUSED,
        RESCORING: PRERANK,
        FINAL: PRERANK,
    }
    gains = {name: round(cost.gain.mean, 6) for name, cost in costs.items()}
    assert gains == {WORDS: 0.3, TOWERS: 0.2, FUSED: 0.1, PRERANK: 0.1, RESCORING: -0.2, FINAL: 0.05}
    times = {name: round(cost.milliseconds, 6) for name, cost in costs.items()}
    assert times == {WORDS: 2, TOWERS: 4, FUSED: 1, PRERANK: 0.5, RESCORING: 30, FINAL: 30.5}
    assert costs[PRERANK].gain_per_millisecond == pytest.approx(0.2)
    assert costs[FINAL].as_json()["gain_per_millisecond"] == pytest.approx(0.05 / 30.5)


def test_what_is_not_rescored_takes_no_rescoring() -> None:
    plain = {cost.stage: cost for cost in stage_costs(VALUES, [QUICK])}
    assert RESCORING not in plain and plain[FINAL].milliseconds == pytest.approx(0.5)
    rescored = [QUICK | {"rescore": 0.02}]
    measured = {cost.stage: cost for cost in stage_costs(VALUES, rescored, rescores=False)}
    assert measured[RESCORING].milliseconds == 20 and measured[FINAL].milliseconds == pytest.approx(0.5)


def test_without_words_or_a_final_score_stages_follow_what_there_is() -> None:
    some = {name: VALUES[name] for name in (TOWERS, FINAL)}
    costs = stage_costs(some, [{"encode": 0.001}])
    assert [(cost.stage, cost.over) for cost in costs] == [(TOWERS, None), (FINAL, TOWERS)]
    assert costs[1].gain_per_millisecond is None


async def test_stages_are_timed_as_the_pipeline_reports_them(tmp_path: object) -> None:
    seconds = await time_stages(make_release(tmp_path), ["1 thing", "2 things"], Plan(rerank_depth=4), ignore)  # type: ignore[arg-type]
    assert len(seconds) == 2 and all({"encode", "retrieve", "rescore", "arrange"} <= set(entry) for entry in seconds)
    none = await time_stages(make_release(tmp_path), ["1 thing"], Plan(rerank_depth=0), ignore)  # type: ignore[arg-type]
    assert "rescore" not in none[0]


def test_the_table_has_a_row_for_each_stage() -> None:
    console = Console(record=True, width=120)
    show_costs(console, stage_costs(VALUES, [QUICK]))
    text = console.export_text()
    assert all(name in text for name in (WORDS, TOWERS, FUSED, PRERANK, FINAL)) and "+0.100" in text
