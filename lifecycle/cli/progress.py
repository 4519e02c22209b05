"""Progress of the long steps: bars on a terminal, and a line now and then where the output is a file or a pipe."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.progress import Report

_LINE_SECONDS = 10.0


class Bars:
    """Shows for each step what is done, what is left, and the time both take."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock

    @contextmanager
    def step(self, name: str) -> Iterator[Report]:
        """See `core.progress.Steps`. A step that reports nothing shows a bar that runs until it ends."""
        if not self._console.is_terminal:
            yield from self._lines(name)
            return
        columns = (
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
            finished = bars.tasks[0].total or bars.tasks[0].completed or 1
            bars.update(task, completed=finished, total=finished)

    def _lines(self, name: str) -> Iterator[Report]:
        start = shown = self._clock()
        latest = ""

        def report(done: int, total: int | None) -> None:
            nonlocal shown, latest
            now = self._clock()
            latest = f"{done:,}/{total:,}" if total else f"{done:,}"
            if now - shown < _LINE_SECONDS:
                return
            shown = now
            left = f", {_time((now - start) * (total - done) / done)} left" if total and done else ""
            self._print(f"{name:<26} {latest}, {_time(now - start)}{left}")

        end = "stopped after"
        try:
            yield report
            end = "done in"
        finally:
            self._print(f"{name:<26} {latest + ', ' if latest else ''}{end} {_time(self._clock() - start)}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
