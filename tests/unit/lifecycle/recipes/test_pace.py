"""How much of a recipe there is time for: worked by hand, decided stage by stage, and kept."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.digest import value_digest
from lifecycle.recipes import pace
from lifecycle.recipes.builtin import general, home_depot, sample
from lifecycle.recipes.pace import PACE_FILE, Pacer
from lifecycle.recipes.recipe import STAGES, CostModel, Recipe, Stage, Work

EFFORT = CostModel(towers=Work(learning=400, other=100), ranker=Work(learning=600, other=100))
# Five stages of 200 steps each that can be shortened, but for 20 that cannot; the student's keep thrice the share.
EVEN = CostModel(**{stage: Work(learning=180, other=20) for stage in STAGES})


def every_stage() -> Recipe:
    """A recipe that has all stages."""
    return general().model_copy(update={"second_round": home_depot().second_round})


class Machine:
    """A clock that training and timing move on: a step takes what `step` gives for the seconds gone by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: Callable[[float], float]) -> None:
        self.now, self.step, self.timed = 0.0, step, 0
        monkeypatch.setattr(pace, "seconds_per_step", self.time)

    def time(self, base: str | None) -> float:
        self.timed += 1
        return self.step(self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def train(self, effort: CostModel, stage: Stage, share: float) -> None:
        """Goes through the stage's steps, a step at a time."""
        for _ in range(round(effort.steps(share, (stage,)))):
            self.now += self.step(self.now)

    def pacer(self, recipe: Recipe, folder: Path, message: list[str] | None = None) -> Pacer:
        lines = message if message is not None else []
        return Pacer(recipe, folder, folder / "after", None, lines.append, lambda: self.now, self.pass_by)


def recipe(minutes: float | None, effort: CostModel = EVEN) -> Recipe:
    return every_stage().model_copy(update={"effort": effort, "minutes": minutes})


def run(machine: Machine, chosen: Recipe, folder: Path, stages: tuple[Stage, ...] = STAGES) -> dict[Stage, float]:
    """Trains the stages; returns their shares."""
    pacer = machine.pacer(chosen, folder)
    shares: dict[Stage, float] = {}
    for stage in stages:
        pacer.start(stage)
        file = folder / ("after" if stage in ("final_stage", "student") else ".") / PACE_FILE
        shares[stage] = json.loads(file.read_text())["stages"][stage]["share"]
        assert chosen.effort is not None
        machine.train(chosen.effort, stage, shares[stage])
    pacer.finish()
    return shares


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
    assert EFFORT.minutes(6.0, 0.5, ("ranker",)) == 40


def test_the_student_takes_thrice_the_share_and_never_more_than_all() -> None:
    effort = EFFORT.model_copy(update={"student": Work(learning=400)})
    assert [effort.minutes(6.0, share) for share in (0.25, 0.5, 1.0)] == [75, 110, 160]  # 750, 1100 and 1600 steps
    assert (effort.share(75, 6.0), effort.share(74.9, 6.0), effort.share(110, 6.0)) == (0.25, 0.225, 0.5)


def test_every_training_is_shortened_and_nothing_else_changes() -> None:
    whole, half = every_stage(), every_stage().shortened(0.5)
    assert (
        whole.second_round
        and half.second_round
        and whole.final_stage
        and half.final_stage
        and whole.compression
        and half.compression
    )
    assert (half.towers.max_steps, half.second_round.max_steps, half.ranker.max_steps) == (65, 155, 700)
    assert half.ranker.epochs == whole.ranker.epochs / 2
    assert (whole.ranker.evaluations, half.ranker.evaluations) == (4, 2)
    assert half.final_stage == whole.final_stage.model_copy(update={"replay": whole.final_stage.replay / 2})
    assert half.compression.student == whole.compression.student  # it keeps thrice the share
    assert whole.shortened(0.25).compression.student.epochs == whole.compression.student.epochs * 0.75
    assert half.compression.candidates == whole.compression.candidates / 2
    assert half.compression.final_candidates == whole.compression.final_candidates
    same = {"towers", "second_round", "ranker", "final_stage", "compression"}
    assert half.model_dump(exclude=same) == whole.model_dump(exclude=same)


def test_stages_are_shortened_one_by_one() -> None:
    whole = every_stage()
    assert whole.shortened(0.5, ("towers",)) == whole.model_copy(update={"towers": whole.shortened(0.5).towers})
    parts = whole
    for stage in STAGES:
        parts = parts.shortened(0.5, (stage,))
    assert parts == whole.shortened(0.5)


def test_a_recipe_of_few_stages_can_be_shortened() -> None:
    assert sample().shortened(0.5).ranker.epochs == sample().ranker.epochs / 2
    assert sample().stages == ("towers", "ranker")
    assert home_depot().stages == ("towers", "second_round", "ranker", "student")


def test_a_recipe_that_fits_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, reported = Machine(monkeypatch, lambda now: 1.0), list[str]()
    assert machine.pacer(recipe(60), tmp_path, reported).start("towers") == recipe(60)
    assert reported == [] and machine.timed == 3


def test_a_recipe_without_a_limit_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda now: 1.0)
    pacer = machine.pacer(recipe(None), tmp_path)
    assert pacer.start("towers") == pacer.start("second_round") == recipe(None)
    pacer.finish()
    assert machine.timed == 0 and not (tmp_path / PACE_FILE).exists()


def test_a_recipe_that_does_not_fit_is_shortened_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shop's own files general has no late stage: 800 steps of 3 s, 40 minutes; of half of them the student's 180
    stay whole, so that 530 are to be done in 26.5."""
    machine, reported = Machine(monkeypatch, lambda now: 3.0), list[str]()
    chosen = recipe(26.5).on("a.jsonl", "a.parquet")
    assert machine.pacer(chosen, tmp_path, reported).start("towers") == chosen.shortened(0.5, ("towers",))
    assert reported == [
        "all of general would take 40 minutes here: learning 50% of it, to be done in about 26 (--minutes 0 learns all)"
    ]


def test_one_slow_moment_of_three_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda now: 60.0 if now < 3 else 1.0)
    assert machine.pacer(recipe(20), tmp_path).start("towers") == recipe(20)


def test_who_was_busy_at_the_start_does_not_fix_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is 20 times as slow for two minutes. By its first timings it would learn 2% of all."""
    machine = Machine(monkeypatch, lambda now: 20.0 if now < 120 else 1.0)
    shares = run(machine, recipe(20), tmp_path)
    assert shares["towers"] == 0.025 and all(shares[stage] == 1.0 for stage in STAGES[1:])
    assert machine.now < 20 * 60


@pytest.mark.parametrize("step", [lambda now: 2.0, lambda now: 1.0 if now < 300 else 4.0, lambda now: 1 + now / 600])
def test_the_whole_ends_near_its_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[float], float]
) -> None:
    """At an even pace, on a machine that others come to, and on one that slows down all the time."""
    machine = Machine(monkeypatch, step)
    run(machine, recipe(20), tmp_path)
    assert 0.8 * 20 < machine.now / 60 < 1.25 * 20


def test_what_earlier_stages_took_counts_beside_the_timings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each timing before `mined` says something else; the middle of those and of what was taken is 2 s a step."""
    machine = Machine(monkeypatch, lambda now: 2.0)
    pacer = machine.pacer(recipe(1000), tmp_path)
    pacer.start("towers")
    machine.train(EVEN, "towers", 1.0)
    timings = iter([0.1, 50.0, 60.0])
    monkeypatch.setattr(pace, "seconds_per_step", lambda base: next(timings))
    pacer.start("second_round")
    # 1,000 minutes are plenty at 2 s a step, for 800 steps; at 50 s a step 640 of them would fit.
    assert json.loads((tmp_path / PACE_FILE).read_text())["stages"]["second_round"]["share"] == 1.0


def test_a_run_that_goes_on_learns_as_much_as_it_had_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda now: 3.0)
    shares = run(machine, recipe(20), tmp_path, ("towers", "second_round"))
    assert shares["towers"] < 1
    faster = Machine(monkeypatch, lambda now: 0.1)
    pacer = faster.pacer(recipe(20), tmp_path)
    pacer.start("towers")
    assert pacer.start("second_round") == recipe(20).shortened(shares["towers"], ("towers",)).shortened(
        shares["second_round"], ("second_round",)
    )
    assert faster.timed == 0
    pacer.start("ranker")
    kept = json.loads((tmp_path / PACE_FILE).read_text())["stages"]
    assert faster.timed == 3 and kept["ranker"]["share"] == 1.0  # what is not begun is decided anew
    assert kept["towers"]["seconds"] > 60  # as the first run took it down


def test_a_record_of_the_version_before_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names two stages otherwise, in the record and in the cost model that the record is of."""
    work = {"learning": 180.0, "other": 20.0}
    effort = dict.fromkeys(("towers", "mined", "ranker", "late", "student"), work)
    record = {"share": 0.25, "seconds": None, "cut": False}
    content = {"of": value_digest(["general", 20, effort, None]), "stages": {"towers": record, "mined": record}}
    (tmp_path / PACE_FILE).write_text(json.dumps(content))
    machine = Machine(monkeypatch, lambda now: 3.0)
    pacer = machine.pacer(recipe(20), tmp_path)
    pacer.start("towers")
    stages: tuple[Stage, Stage] = ("towers", "second_round")
    assert pacer.start("second_round") == recipe(20).shortened(0.25, stages) and machine.timed == 0
    assert json.loads((tmp_path / PACE_FILE).read_text())["stages"].keys() == {"towers", "second_round"}


def test_a_stage_that_was_cut_goes_on_as_decided_and_says_nothing_of_the_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, lambda now: 3.0)
    share = machine.pacer(recipe(20), tmp_path).start("towers").towers.epochs
    again = machine.pacer(recipe(20), tmp_path)
    assert again.start("towers").towers.epochs == share and machine.timed == 3
    machine.now += 1  # it was nearly done
    again.start("second_round")
    kept = json.loads((tmp_path / PACE_FILE).read_text())["stages"]
    assert kept["towers"]["cut"] and kept["towers"]["seconds"] == 1
    # Not the 1 s that the end of the stage took, but 3 s a step, as timed: 20 minutes hold 400 steps of the other 800.
    assert kept["second_round"]["share"] == EVEN.share(20 - 1 / 60, 3.0, STAGES[1:]) < 1


@pytest.mark.parametrize("kept", ['{"": 3.0}', "{", "[]", '{"of": "another", "stages": {}}', '{"of": null}'])
def test_what_another_version_or_recipe_kept_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    (tmp_path / PACE_FILE).write_text(kept)
    machine = Machine(monkeypatch, lambda now: 1.0)
    assert machine.pacer(recipe(60), tmp_path).start("towers") == recipe(60)
    assert machine.timed == 3


def test_other_minutes_are_decided_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda now: 3.0)
    run(machine, recipe(20), tmp_path, ("towers",))
    assert machine.pacer(recipe(2000), tmp_path).start("towers") == recipe(2000)
