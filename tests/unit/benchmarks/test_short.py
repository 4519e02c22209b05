import json
from pathlib import Path

import pytest

from benchmarks.peers.environments import PLAIN
from benchmarks.peers.ours import SAME
from benchmarks.peers.table import RESCORED
from benchmarks.short import Part, parts, run


def part(folder: Path, code: str, statuses: tuple[int, ...] = (0,)) -> Part:
    (folder / "module_of_test.py").write_text(code)
    return Part(["module_of_test"], "told", lambda results: [("seen", str(results))], statuses)


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_rows_are_made_of_what_the_part_left(tmp_path: Path) -> None:
    code = f"from pathlib import Path; Path({str(tmp_path / 'told.json')!r}).write_text('{{\"results\": 7}}')"
    assert run(part(tmp_path, code), tmp_path) == [("seen", "7")]


def test_an_older_run_is_not_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "told.json").write_text(json.dumps({"results": 7}))
    assert run(part(tmp_path, "pass"), tmp_path) == []


@pytest.mark.parametrize(("statuses", "rows"), [((0,), []), ((0, 3), [("seen", "7")])])
def test_a_status_that_is_no_result_leaves_no_rows(tmp_path: Path, statuses: tuple[int, ...], rows: list) -> None:
    code = f"import sys; open({str(tmp_path / 'told.json')!r}, 'w').write('{{\"results\": 7}}'); sys.exit(3)"
    assert run(part(tmp_path, code, statuses), tmp_path) == rows


def test_the_program_to_compare_with_runs_where_its_models_are(tmp_path: Path) -> None:
    files = {
        with_models: [entry.file for entry in parts(tmp_path, tmp_path, tmp_path, tmp_path, with_models)]
        for with_models in (True, False)
    }
    assert files[True] == ["peers", "embedding", *files[False]]
    assert len(files[False]) == 4


def test_speeds_and_their_ratio_are_told_where_both_programs_answered(tmp_path: Path) -> None:
    speed = {"queries_per_s": 30.0, "p50_ms": 33.0, "p99_ms": 52.0}
    rows = {name: {"speeds": {"8": speed}} for name in (SAME, PLAIN.name)}
    results = {RESCORED: {"rows": rows, f"to {PLAIN.name}": {SAME: {"queries/s, clients 8": 5.2, "peak MiB": 0.4}}}}
    peers = parts(tmp_path, tmp_path, tmp_path, tmp_path, True)[0]
    assert peers.rows(results) == [
        (f"{SAME}, clients 8: queries/s (p50, p99)", "30.0 (33.0 ms, 52.0 ms)"),
        (f"{PLAIN.name}, clients 8: queries/s (p50, p99)", "30.0 (33.0 ms, 52.0 ms)"),
        (f"{SAME} to {PLAIN.name}: queries/s, clients 8", "5.2 times"),
    ]
    del rows[PLAIN.name]
    assert peers.rows(results) == []
