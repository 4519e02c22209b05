"""Each promise and each guard names a test that is there."""

import ast
import re

import pytest
from guards import ROOT, Guard, read_guards

PROMISES = (ROOT / "deploy/PROMISES.md").read_text()
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_ROW = re.compile(r"^\| (?!promise \||---)(.+?) \| (.+) \|$", re.MULTILINE)


def names_in(file: str) -> set[str]:
    path = ROOT / file
    assert path.is_file(), f"{file} is not there"
    nodes = ast.walk(ast.parse(path.read_text()))
    names = (node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {name for name in names if name.startswith("test_")}


def check_named(file: str, test: str | None) -> None:
    there = names_in(file)
    assert there, f"{file} has no test"
    assert test is None or test in there, f"{file} has no {test}"


def test_each_promise_names_tests_that_are_there() -> None:
    rows = _ROW.findall(PROMISES)
    assert len(rows) >= 5
    for promise, held in rows:
        named = _NAMED.findall(held)
        assert named, f"nothing holds {promise!r}"
        for file, test in named:
            check_named(file, test or None)


@pytest.mark.parametrize("guard", read_guards(), ids=lambda guard: guard.name)
def test_each_guard_is_there_once(guard: Guard) -> None:
    assert (ROOT / guard.file).read_text().count(guard.guard) == 1
    assert guard.without != guard.guard
    file, _, test = guard.test.partition("::")
    check_named(file, test.partition("[")[0] or None)


def test_whatever_has_a_long_form_is_run_by_the_torture() -> None:
    files = {path: path.read_text() for path in (ROOT / "tests/integration").glob("test_*.py")}
    long = {path.name for path, text in files.items() if "from torture import" in text}
    marked = {path.name for path, text in files.items() if re.search(r"pytest\.mark\.(torture|long)", text)}
    assert len(long) > 10
    assert not long - marked
