"""Cuts a scenario off at many points, one after the other, and prints what did not hold, as JSON.

    PYTHONPATH=.:protos python tests/crash_points.py publish START WORK --seed 23 kill=500 lose=50

START is a folder with `releases` and, of publishing, the draft; copies of it are made in WORK. Modes, each with its
number of points: `kill` and `tear` by SIGKILL at a system call, `random` at any moment; `refuse` one call by an error
of the disk, `full` all that take space from one on, `broken` all from one on; `lose` what is not synced, in four ways;
`gate`: a sync is refused, with none to two calls behind it, the work goes on, and then power is cut.
"""

import argparse
import errno
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crash_scenarios import SCRATCH, Changes, FirstPublishing, Publishing, Rules, Scenario, files
from lost_writes import Loss, LostWrites
from system_calls import SYNCS, TAKES_SPACE, Act, Call, Decide, Outcome, run_traced

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
_SCENARIOS: dict[str, Callable[[Path], Scenario]] = {
    "publish": Publishing,
    "first": FirstPublishing,
    "prune": lambda start: Publishing(start, prunes=True),
    "rules": Rules,
    "changes": Changes,
}
_MOST_SHOWN = 20
_MODES = ("kill", "tear", "random", "refuse", "full", "broken", "lose", "gate")


class Campaign:
    """One scenario in one mode."""

    def __init__(self, scenario: Scenario, mode: str, start: Path, work: Path, seed: int) -> None:
        self._scenario = scenario
        self._mode = mode
        self._start = start
        self._work = work
        self._chance = random.Random(f"{seed} {mode}")
        self.faults: list[str] = []
        self.ends: Counter[str] = Counter()
        self.tried = 0

    def run(self, points: int) -> int:
        """Tries at most so many points, spread over all; returns how many calls an undisturbed run makes."""
        names: list[str] = []
        began = time.monotonic()
        outcome, root = self._traced(lambda call: (names.append(call.name), (Act.let, 0))[1], "whole")
        seconds = time.monotonic() - began
        self._judge(root, outcome, "undisturbed")
        self._scenario.slowest = 0.0  # it had libraries to load
        calls = len(names)
        places = [n for n, name in enumerate(names, 1) if self._mode != "gate" or name in SYNCS]
        if self._mode == "random":
            for number in range(points):
                self._kill_at(number, self._chance.uniform(0, seconds))
            return calls
        if points < len(places):
            places = sorted(self._chance.sample(places, points))
        if self._mode == "lose":  # what was done by then has to last
            names.append("none: all was done")
            places.append(len(names))
        for place in places:
            if self._mode == "gate":
                for burst in (1, 2, 3):
                    self._lose(place, names[place - 1], burst)
            else:
                (self._lose if self._mode == "lose" else self._disturb)(place, names[place - 1])
        return calls

    def _disturb(self, place: int, name: str) -> None:
        number = ERRORS[place % len(ERRORS)]
        decide: Decide = {
            "kill": lambda call: (Act.kill if call.number == place else Act.let, 0),
            "tear": lambda call: (Act.tear if call.number == place else Act.let, 0),
            "refuse": lambda call: (Act.refuse if call.number == place else Act.let, number),
            "full": lambda call: (_refusal(call.number >= place and call.name in TAKES_SPACE), errno.ENOSPC),
            "broken": lambda call: (_refusal(call.number >= place), errno.EIO),
        }[self._mode]
        outcome, root = self._traced(decide, f"{place}")
        self._judge(root, outcome, f"{self._mode} at call {place}, {name}")

    def _lose(self, place: int, name: str, burst: int = 1) -> None:
        root = self._copied(f"{place}")
        disk = LostWrites(root, SCRATCH)

        def decide(call: Call) -> tuple[Act, int]:
            if self._mode == "lose":
                return (Act.kill if call.number == place else Act.let), 0
            return _refusal(place <= call.number < place + burst), errno.EIO

        outcome = run_traced(lambda report: self._scenario.work(root, report), decide, disk.after)
        for loss in Loss if self._mode == "lose" else (Loss.all, Loss.some):
            left = self._work / f"{place}-{loss.value}"
            disk.write(left, loss, self._chance)
            self._judge(left, outcome, f"{self._mode} {loss.value} at call {place}, {name}", space=False)
        disk.close()
        _remove(root)

    def _kill_at(self, number: int, seconds: float) -> None:
        root = self._copied(f"{number}")
        pid = os.fork()
        if not pid:
            try:
                self._scenario.work(root, lambda _: None)
            finally:
                os._exit(0)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._judge(root, Outcome(os.WIFSIGNALED(status), "", [], 0), f"killed after {seconds:.4f} s")

    def _judge(self, root: Path, outcome: Outcome, where: str, space: bool = True) -> None:
        self.tried += 1
        self.ends["killed" if outcome.killed else outcome.error.split(":")[0] or "done"] += 1
        faults: list[str] = []
        if not outcome.killed and outcome.error and space and self._mode != "broken":
            faults += self._scenario.given_back(root, self._before, outcome.lines)
        if (self._start / SCRATCH).exists():  # the next job makes its files anew
            _remove(root / SCRATCH)
            subprocess.run(["cp", "-a", self._start / SCRATCH, root], check=True)
        faults += self._scenario.faults(root, outcome.lines)
        self.faults += [f"{where}: {fault}" for fault in faults]
        _remove(root)

    def _traced(self, decide: Decide, name: str) -> tuple[Outcome, Path]:
        root = self._copied(name)
        return run_traced(lambda report: self._scenario.work(root, report), decide), root

    def _copied(self, name: str) -> Path:
        root = self._work / name
        subprocess.run(["cp", "-a", self._start, root], check=True)
        self._before = {name.removeprefix("releases/") for name in files(root)} | files(root)
        return root


def _refusal(refused: bool) -> Act:
    return Act.refuse if refused else Act.let


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", folder], check=True)


def main() -> None:
    """Prints what was tried and what did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=_SCENARIOS)
    parser.add_argument("start", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("modes", nargs="+", help=f"MODE=POINTS; modes are {', '.join(_MODES)}")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    scenario = _SCENARIOS[options.scenario](options.start)
    results = {}
    for mode, points in (part.split("=") for part in options.modes):
        scenario.slowest = 0.0
        campaign = Campaign(scenario, mode, options.start, options.work, options.seed)
        calls = campaign.run(int(points))
        results[mode] = {
            "calls": calls, "tried": campaign.tried, "ends": campaign.ends, "slowest": scenario.slowest,
            "count": len(campaign.faults), "faults": campaign.faults[:_MOST_SHOWN],
        }  # fmt: skip
    print(json.dumps(results))


if __name__ == "__main__":
    main()
