import json
import random
from pathlib import Path

import pytest
from logs import answer, call

from benchmarks.load.locust_run import LocustRun, NamedOptions, windowed
from benchmarks.load.measured import REFUSED
from core.errors import TandemError


def run_of(folder: Path, slo: str = "p99_ms = 200", **changes: object) -> LocustRun:
    (folder / "slo.toml").write_text(slo)
    (folder / "log.csv").write_text("query,count\nred mug,3\nlamp,1\n")
    options = {"queries": str(folder / "log.csv"), "objectives": str(folder / "slo.toml"), "host": "localhost:1"}
    return LocustRun(NamedOptions(**{**options, "output": str(folder / "out"), **changes}))  # type: ignore[arg-type]


def test_queries_are_drawn_by_their_shares(tmp_path: Path) -> None:
    run, source = run_of(tmp_path), random.Random(0)
    drawn = [run.draw(source) for _ in range(4000)]
    assert set(drawn) == {0, 1} and drawn.count(0) / 4000 == pytest.approx(0.75, abs=0.03)


def test_every_shopper_draws_differently_and_every_run_the_same(tmp_path: Path) -> None:
    seeds = [run_of(tmp_path).next_seed() for _ in range(2)]
    run = run_of(tmp_path)
    assert seeds[0] == seeds[1] == run.next_seed() != run.next_seed()


@pytest.mark.parametrize(("slo", "status"), [("p99_ms = 200", 0), ("p99_ms = 50", 3)])
def test_the_exit_status_says_whether_the_objectives_hold(tmp_path: Path, slo: str, status: int) -> None:
    run = run_of(tmp_path, slo)
    run.start()
    for i in range(20):
        run.take(call(0.1, due=i / 100, data=answer("a")))
    run.stop()
    run._client_used = 0.0
    assert run.finish() == status
    reported = json.loads((tmp_path / "out" / "load_locust.json").read_text())
    assert reported["results"]["calls"] == 20 and reported["results"]["verdict"]["holds"] is (status == 0)
    assert {"hardware", "versions", "parameters"} <= set(reported) and reported["parameters"]["think_seconds"] == 1.0
    page = (tmp_path / "out" / "load_locust.html").read_text()
    assert "data:image/svg+xml;base64," in page and ("do not hold" in page) is (status == 3)


def test_a_client_without_a_core_left_says_nothing_of_the_service(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.take(call(0.1, data=answer("a")))
    run.stop()
    run._client_used = run._seconds
    assert run.finish() == 4


def test_starting_forgets_what_came_before(tmp_path: Path) -> None:
    run = run_of(tmp_path, "p99_ms = 200\nerror_share = 0")
    run.take(call(0.1, REFUSED))
    run.start()
    run.take(call(0.1, data=answer("a")))
    run.stop()
    run._client_used = 0.0
    assert run.finish() == 0


def test_wrong_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(TandemError, match="no such file"):
        run_of(tmp_path, queries=str(tmp_path / "none.csv"))
    with pytest.raises(TandemError, match="needs judgments"):
        run_of(tmp_path, "p99_ms = 1\nndcg = 0.5")


def test_windows_cut_the_run_by_when_calls_were_sent(tmp_path: Path) -> None:
    calls = [call(0.1, due=0.5, data=answer("a")), call(0.3, due=0.6, data=answer("a")), call(0.1, REFUSED, due=3.5)]
    first, last = windowed(calls, run_of(tmp_path).log, 4.0, windows=4)
    assert (first["second"], first["offered_per_s"], first["error_share"]) == (0.5, 2.0, 0)
    assert first["p50_ms"] == pytest.approx(200)
    assert (last["second"], last["error_share"], last["p50_ms"]) == (3.5, 1.0, None)
