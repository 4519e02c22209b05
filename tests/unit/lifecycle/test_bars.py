from io import StringIO

import pytest
from rich.console import Console

from lifecycle.progress import Bars


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=120, force_terminal=False)


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
