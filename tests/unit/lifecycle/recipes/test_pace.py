"""How much of a recipe there is time for: worked by hand, measured once, and kept."""

import json
from pathlib import Path

import pytest

from lifecycle.recipes import pace
from lifecycle.recipes.pace import PACE_FILE, fitted, remembered_pace
from lifecycle.recipes.recipe import Effort, Recipe, general, sample

EFFORT = Effort(learning=1000, other=200)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The bases that are timed from now on; each takes three seconds a step."""
    bases: list[str | None] = []
    monkeypatch.setattr(pace, "seconds_per_step", lambda base: bases.append(base) or 3.0)
    return bases


def recipe(minutes: float | None) -> Recipe:
    return general().model_copy(update={"effort": EFFORT, "minutes": minutes})


@pytest.mark.parametrize(
    ("minutes", "step", "share"),
    [
        (60, 3.0, 1.0),  # 200 + 1000 steps of 3 s are an hour
        (59.9, 3.0, 0.975),
        (60, 6.0, 0.4),  # 600 steps fit: 400 of the 1000
        (60, 1.0, 1.0),
        (60, 6.2, 0.375),  # 580.6 fit: 380.6 of the 1000
        (5, 6.0, 0.025),  # never nothing
    ],
)
def test_the_share_is_what_the_rest_leaves_time_for(minutes: float, step: float, share: float) -> None:
    assert EFFORT.share(minutes, step) == share


def test_the_minutes_are_those_of_all_steps() -> None:
    assert EFFORT.minutes(3.0) == 60
    assert EFFORT.minutes(6.0, 0.4) == 60


def test_the_student_takes_thrice_the_share_and_never_more_than_all() -> None:
    effort = Effort(learning=1000, student=400, other=200)
    assert [effort.minutes(6.0, share) for share in (0.25, 0.5, 1.0)] == [75, 110, 160]  # 750, 1100 and 1600 steps
    assert (effort.share(75, 6.0), effort.share(74.9, 6.0), effort.share(110, 6.0)) == (0.25, 0.225, 0.5)


def test_every_training_is_shortened_and_nothing_else_changes() -> None:
    whole, half = general(), general().shortened(0.5)
    assert whole.mined and half.mined and whole.late and half.late and whole.compression and half.compression
    assert (half.towers.max_steps, half.mined.max_steps, half.ranker.max_steps) == (65, 155, 700)
    assert half.ranker.epochs == whole.ranker.epochs / 2
    assert (whole.ranker.evaluations, half.ranker.evaluations) == (4, 2)
    assert half.late == whole.late.model_copy(update={"replay": whole.late.replay / 2})
    assert half.compression.student == whole.compression.student  # it keeps thrice the share
    assert whole.shortened(0.25).compression.student.epochs == whole.compression.student.epochs * 0.75
    assert half.compression.candidates == whole.compression.candidates / 2
    assert half.compression.late_candidates == whole.compression.late_candidates
    same = {"towers", "mined", "ranker", "late", "compression"}
    assert half.model_dump(exclude=same) == whole.model_dump(exclude=same)


def test_a_recipe_of_one_stage_can_be_shortened() -> None:
    assert sample().shortened(0.5).ranker.epochs == sample().ranker.epochs / 2


def test_a_recipe_that_fits_is_left_as_it_is(tmp_path: Path, measured: list[str | None]) -> None:
    told: list[str] = []
    assert fitted(recipe(60), tmp_path, None, told.append) == recipe(60)
    assert told == [] and measured == [None]


def test_a_recipe_without_a_limit_is_not_timed(tmp_path: Path, measured: list[str | None]) -> None:
    assert fitted(recipe(None), tmp_path, None, print) == recipe(None)
    assert measured == [] and not (tmp_path / PACE_FILE).exists()


def test_a_recipe_that_does_not_fit_is_shortened_and_says_so(tmp_path: Path, measured: list[str | None]) -> None:
    told: list[str] = []
    assert fitted(recipe(35), tmp_path, None, told.append) == recipe(35).shortened(0.5)
    assert told == [
        "all of general would take 60 minutes here: learning 50% of it, to be done in about 35 (--minutes 0 learns all)"
    ]


def test_a_base_is_timed_once_in_a_folder(tmp_path: Path, measured: list[str | None]) -> None:
    assert remembered_pace(tmp_path / "stages", None) == remembered_pace(tmp_path / "stages", None) == 3.0
    remembered_pace(tmp_path / "stages", "other")
    remembered_pace(tmp_path / "stages", "other")
    assert measured == [None, "other"]
    assert json.loads((tmp_path / "stages" / PACE_FILE).read_text()) == {"": 3.0, "other": 3.0}
