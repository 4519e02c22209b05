from io import StringIO

import pytest
from rich.console import Console

from lifecycle.cli.progress import Bars


@pytest.fixture
def console() -> Console:
    """A terminal."""
    return Console(file=StringIO(), width=120, force_terminal=True, color_system=None)


class Clock:
    """Goes on by so many seconds at each look."""

    def __init__(self, step: float) -> None:
        self.now = -step
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_step_shows_its_name_and_what_was_done_of_what(console: Console) -> None:
    with Bars(console).step("embed") as report:
        report(10, 250)
        report(250, 250)
    assert "embed" in shown(console) and "250/250" in shown(console)


def test_a_step_that_reports_nothing_ends_as_done(console: Console) -> None:
    with Bars(console).step("publish"):
        pass
    assert "publish" in shown(console) and "1/1" in shown(console)


def test_a_step_of_unknown_length_ends_at_what_was_done(console: Console) -> None:
    with Bars(console).step("clean") as report:
        report(7, None)
    assert "7/7" in shown(console)


def test_an_error_ends_the_bar_and_passes(console: Console) -> None:
    with pytest.raises(KeyError), Bars(console).step("embed") as report:
        report(3, 9)
        raise KeyError
    assert "3/9" in shown(console)


def lines(console: Console) -> list[str]:
    return [" ".join(line.split()) for line in shown(console).splitlines()]


def test_a_file_gets_a_line_now_and_then() -> None:
    log = Console(file=StringIO(), width=120)
    with Bars(log, Clock(6)).step("embed") as report:  # looked at 0 s, then 6, 12, 18, 24 and 30 s
        for done in (250, 500, 750, 1000):
            report(done, 1000)
    # At 6 s and at 18 s the last line is less than 10 s old. Half in 12 s leaves 12 s, all in 24 s none.
    assert lines(log) == [
        "embed 500/1,000, 0:00:12, 0:00:12 left",
        "embed 1,000/1,000, 0:00:24, 0:00:00 left",
        "embed 1,000/1,000, done in 0:00:30",
    ]


def test_a_file_is_told_of_an_error() -> None:
    log = Console(file=StringIO(), width=120)
    with pytest.raises(KeyError), Bars(log, Clock(1)).step("embed") as report:
        report(3, None)
        raise KeyError
    assert lines(log) == ["embed 3, stopped after 0:00:02"]
