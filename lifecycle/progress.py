"""Progress bars for the long steps, on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.progress import Report


class Bars:
    """A bar for each step: what is done, what is left, and the time both take."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, name: str) -> Iterator[Report]:
        """See `core.progress.Steps`. A step that reports nothing shows a bar that runs until it ends."""
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
