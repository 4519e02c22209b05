"""Measures this machine's training speed, and fits a recipe's steps to the time, stage by stage. Loads torch."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.digest import value_digest
from encoder.train.pace import seconds_per_step
from lifecycle.recipes.recipe import STAGES, Recipe, Stage

PACE_FILE = "pace.json"
# Timings before a stage, and the pause between two: a neighbour's short job does not decide.
_TIMINGS, _PAUSE = 3, 5.0
# Of stages in records of versions before.
_FORMER_NAMES: dict[Stage, str] = {"second_round": "mined", "final_stage": "late"}

Clock = Callable[[], float]
Record = dict[str, Any]


class Pacer:
    """Decides before each stage how much of it and of what follows there is time for in the recipe's `minutes`.

    The machine is timed anew each time, and what earlier stages took counts too: who was busy at the start does not
    fix the rest. What was decided is kept beside the stages, so that a run that goes on learns as much of them.
    """

    def __init__(
        self,
        recipe: Recipe,
        before: Path,
        after: Path,
        base: str | None,
        notify: Callable[[str], None],
        clock: Clock = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`before` is the folder of the stages that outputs may share, `after` that of the others."""
        self.recipe = recipe
        self._whole, self._base, self._notify, self._clock, self._pause = recipe, base, notify, clock, pause
        self._paced = recipe.minutes is not None and recipe.effort is not None
        self._folders = {stage: after if stage in ("final_stage", "student") else before for stage in STAGES}
        self._records = {stage: record for stage in STAGES if (record := self._read(stage))} if self._paced else {}
        self._current: tuple[Stage, float] | None = None
        self._shown = 1.0

    def start(self, stage: Stage) -> Recipe:
        """The recipe with as much of this stage as there is time for, and of earlier ones what was decided then."""
        if not self._paced:
            return self.recipe
        self.finish()
        record = self._records.get(stage)
        share = float(record["share"]) if record else self._decided(stage)
        if record is None or record["seconds"] is None:
            self._keep(stage, {"share": share, "seconds": None, "cut": record is not None})
        self.recipe = self.recipe.shortened(share, (stage,))
        self._current = (stage, self._clock())
        return self.recipe

    def finish(self) -> None:
        """Records how long the stage started last took; for one that was done before, nothing."""
        if self._current is None:
            return
        (stage, began), self._current = self._current, None
        record = self._records[stage]
        if record["seconds"] is None:
            self._keep(stage, record | {"seconds": round(self._clock() - began, 3)})

    def _decided(self, stage: Stage) -> float:
        """The share of this stage and of those to come that ends near the minutes, and a line where that is not all."""
        effort, minutes = self._whole.effort, self._whole.minutes
        assert effort is not None and minutes is not None, "called for recipes that are paced"
        ahead = self._whole.stages[self._whole.stages.index(stage) :]
        step = statistics.median([*self._timings(), *self._taken()])
        spent = sum(record["seconds"] or 0.0 for record in self._records.values()) / 60
        share = effort.share(max(0.0, minutes - spent), step, ahead)
        if share != self._shown:
            what = f"all of {self._whole.name}" if stage == STAGES[0] else f"what is left of {self._whole.name}"
            self._notify(
                f"{what} would take {effort.minutes(step, 1.0, ahead):.0f} minutes here: learning {share:.0%} of it, "
                f"to be done in about {effort.minutes(step, share, ahead):.0f} (--minutes 0 learns all)"
            )
            self._shown = share
        return share

    def _timings(self) -> list[float]:
        """The current seconds per step, from several measurements."""
        result = []
        for turn in range(_TIMINGS):
            if turn:
                self._pause(_PAUSE)
            result.append(seconds_per_step(self._base))
        return result

    def _taken(self) -> list[float]:
        """Seconds of a step in the last stage that ran from its start to its end, and in all of those together."""
        assert self._whole.effort is not None, "called for recipes that are paced"
        whole = {stage: r for stage, r in self._records.items() if r["seconds"] is not None and not r["cut"]}
        steps = {stage: self._whole.effort.steps(record["share"], (stage,)) for stage, record in whole.items()}
        if not sum(steps.values()):
            return []
        last = [whole[stage]["seconds"] / steps[stage] for stage in whole if steps[stage]][-1]
        return [last, sum(record["seconds"] for record in whole.values()) / sum(steps.values())]

    def _read(self, stage: Stage) -> Record | None:
        """What was decided of a stage for the same recipe, minutes and base."""
        try:
            content = json.loads((self._folders[stage] / PACE_FILE).read_bytes())
            record = (
                content["stages"].get(stage) or content["stages"][_FORMER_NAMES[stage]]
                if content["of"] == self._recipe_digest
                else None
            )
            return record if record and {"share", "seconds", "cut"} <= record.keys() else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _keep(self, stage: Stage, record: Record) -> None:
        self._records[stage] = record
        folder = self._folders[stage]
        here = {name: entry for name, entry in self._records.items() if self._folders[name] == folder}
        folder.mkdir(parents=True, exist_ok=True)
        part = (folder / PACE_FILE).with_suffix(".part")
        part.write_text(json.dumps({"of": self._recipe_digest, "stages": here}, indent=2) + "\n")
        part.replace(folder / PACE_FILE)

    @property
    def _recipe_digest(self) -> str:
        assert self._whole.effort is not None, "called for recipes that are paced"
        return value_digest(
            [self._whole.name, self._whole.minutes, self._whole.effort.model_dump(by_alias=True), self._base]
        )
