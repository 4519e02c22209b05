"""Load tests against a real small service: exit status, reports, and admission under more than it can take."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shops import COLORS, ROOT, THINGS, environment

from benchmarks.load.measured import OK, REFUSED
from benchmarks.load.open_loop import OpenLoop
from core.releases import ReleaseStore
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2

EASY, HARD = "p50_ms = 60000\np99_ms = 60000\nerror_share = 0", "p99_ms = 0.01"


def load_test(folder: Path, store: ReleaseStore, slo: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """`python -m benchmarks.load` on a service of its own; two of the thirty products are judged for each query."""
    (folder / "slo.toml").write_text(slo)
    named = [f"{color} {thing}" for thing in THINGS for color in COLORS]
    lines = [f"{query},a-{i},2\n{query},a-{(i + 7) % len(named)},0" for i, query in enumerate(named)]
    (folder / "judgments.csv").write_text("\n".join(["query,product_id,grade", *lines]))
    options = ["--releases", store.root, "--queries", folder / "judgments.csv", "--split", "all", "--deadline", 30]
    options += ["--slo", folder / "slo.toml", "--output", folder / "out", *arguments]
    command = [sys.executable, "-m", "benchmarks.load", arguments[0], *options[: -len(arguments)], *arguments[1:]]
    settings = environment() | {"TANDEM_SERVE_PLAN__RERANK_DEPTH": "0"}  # the ranker of these tests knows nothing
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=settings, cwd=ROOT, timeout=240, check=False
    )


@pytest.mark.parametrize(("slo", "status"), [(EASY + "\nndcg = 0.3", 0), (HARD, 3)])
def test_the_open_loop_says_by_its_exit_status_whether_objectives_hold(
    store: ReleaseStore, tmp_path: Path, slo: str, status: int
) -> None:
    options = ("--rate", 8, "--seconds", 2, "--calls", 10, "--most-lag-ms", 60_000)
    result = load_test(tmp_path, store, slo, "open", *options)
    assert result.returncode == status, result.stderr
    reported = json.loads((tmp_path / "out" / "load_open.json").read_text())
    [trial] = reported["results"]["trials"]
    assert trial["rate"] == 8 and trial["ndcg"] > 0.3 and trial["server_cores"] > 0
    assert (tmp_path / "out" / "load_open.html").stat().st_size > 10_000


def test_shoppers_by_locust_leave_both_reports(store: ReleaseStore, tmp_path: Path) -> None:
    options = ("--users", 3, "--seconds", 6, "--think", 0.2, "--shape", "spike")
    result = load_test(tmp_path, store, EASY + "\nndcg = 0.3", "locust", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    reported = json.loads((tmp_path / "out" / "load_locust.json").read_text())
    assert reported["results"]["statuses"] == {"OK": reported["results"]["calls"]}
    assert reported["results"]["calls"] >= 3 and reported["parameters"]["load_shape"] == "spike"
    assert "locust" in (tmp_path / "out" / "load_locust_requests.html").read_text().lower()


def test_wrong_input_is_one_line_before_anything_starts(store: ReleaseStore, tmp_path: Path) -> None:
    result = load_test(tmp_path, store, "p99 = 1", "locust")
    assert result.returncode == 2 and result.stderr.strip() == "tandem: setting p99: Extra inputs are not permitted"


async def test_beyond_its_places_a_service_refuses_and_says_when_to_try_again(store: ReleaseStore) -> None:
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", max_in_flight=2, grace_seconds=5)
    request = search_pb2.SearchRequest(query="red kettle").SerializeToString()
    async with run_server(settings) as server, OpenLoop(server.address, 2, 30.0) as loop:
        calls = await loop.run(np.zeros(40), np.zeros(40, int), [request])
    statuses = {call.status for call in calls}
    assert statuses == {OK, REFUSED}
    assert all(call.retry for call in calls if call.status == REFUSED)
