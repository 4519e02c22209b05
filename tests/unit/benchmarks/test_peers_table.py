"""The results of a run in which some programs failed."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from tasks import run, task

from benchmarks.peers.environments import PLAIN
from benchmarks.peers.ours import SAME, SERVED
from benchmarks.peers.table import RESCORED, RETRIEVED, cells, lines, markdown, show, summarize_results

GRADES = {f"q{number}": {"a": 3.0, "b": 1.0} for number in range(5)}


def seen(answer: list[str], peak: float, **more: Any) -> dict[str, Any]:
    runs = [run(clients, depth) for depth in (3, 0) for clients in (1, 8)]
    answers = {"3": [answer] * 4, "0": [answer[::-1]] * 4}
    return {"embedding": {"products_per_s": [10.0]}, "runs": runs, "answers": answers, "peak_mib": peak, **more}


def results(tmp_path: Path, *, with_plain: bool = True) -> dict[str, Any]:
    result = {
        PLAIN.name: seen(["a", "b"], 200.0, build_seconds=1.0, versions={"faiss-cpu": "1"}),
        "lancedb": seen(["b", "a"], 90.0, build_seconds=1.0),
        SAME: seen(["a", "b"], 100.0, ready_seconds=None, index={"kind": "exact_fp16"}),
        SERVED: seen(["a", "b"], 50.0, ready_seconds=None),
    }
    if not with_plain:
        del result[PLAIN.name]
    return summarize_results(result, {"txtai": "failed: KeyError: 'x'"}, GRADES, task(tmp_path), products=100)


def test_rows_stand_beside_the_baseline_at_each_depth(tmp_path: Path) -> None:
    result = results(tmp_path)
    rescored, retrieved = result[RESCORED]["rows"], result[RETRIEVED]["rows"]
    assert list(rescored) == [PLAIN.name, "lancedb", SAME, SERVED]
    assert rescored["lancedb"]["quality"]["difference"] < 0 < retrieved["lancedb"]["quality"]["difference"]
    assert rescored[PLAIN.name]["quality"]["difference"] is None
    assert result[RESCORED][f"to {PLAIN.name}"][SAME]["peak MiB"] == 0.5
    assert result["versions"] == {PLAIN.name: {"faiss-cpu": "1"}} and result["index"] == {SAME: {"kind": "exact_fp16"}}


def test_a_peer_that_is_ahead_of_the_same_weights_is_named(tmp_path: Path) -> None:
    assert results(tmp_path)[RESCORED]["ahead of tandem"] == {"lancedb": {"peak MiB": (90.0, 100.0)}}
    assert "lancedb is ahead: peak MiB 90 (tandem 100)" in list(lines(RESCORED, results(tmp_path)))


def test_ours_stand_beside_the_strongest_peer(tmp_path: Path) -> None:
    result = results(tmp_path)
    slower = result[RESCORED]["rows"][PLAIN.name]["speeds"][8]["queries_per_s"]
    assert result[RESCORED]["strongest peer"] == PLAIN.name  # of equals the first
    assert list(result[RESCORED]["to the strongest peer"]) == [SAME, SERVED]
    assert result[RESCORED]["to the strongest peer"][SAME]["queries/s, clients 8"] == 1.0 and slower > 0
    told_lines = [line for line in lines(RESCORED, result) if "to the strongest peer, " in line]
    assert len(told_lines) == 2 and PLAIN.name in told_lines[0]


def test_one_that_failed_is_a_row_and_a_line(tmp_path: Path) -> None:
    heads, *rows = cells(RESCORED, results(tmp_path))
    assert rows[-1][:3] == ["txtai", "failed", "failed"]
    assert all(len(each) == len(heads) for each in rows)
    assert list(lines(RESCORED, results(tmp_path))).count("txtai failed: KeyError: 'x'") == 1


def test_without_the_baseline_the_others_stand_alone(tmp_path: Path) -> None:
    result = results(tmp_path, with_plain=False)
    assert list(result[RESCORED]["rows"]) == ["lancedb", SAME, SERVED] and result[RESCORED][f"to {PLAIN.name}"] == {}
    assert result[RESCORED]["rows"][SAME]["quality"]["overlap"] is None


def test_all_is_shown_on_a_terminal_and_in_a_readme(tmp_path: Path) -> None:
    stated = io.StringIO()
    show(results(tmp_path), Console(file=stated, width=200))
    assert "2.0 (250.0, 397.0)" in stated.getvalue() and "txtai failed" in stated.getvalue()
    assert "1.0 (4)" in stated.getvalue()
    rows = [line for line in markdown(results(tmp_path)).splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + 5) and len({line.count("|") for line in rows}) == 1


def test_when_all_failed_there_is_still_a_table(tmp_path: Path) -> None:
    result = summarize_results({}, {"txtai": "failed: x"}, GRADES, task(tmp_path), 100)
    assert [each[0] for each in cells(RESCORED, result)] == [RESCORED, "txtai"]
