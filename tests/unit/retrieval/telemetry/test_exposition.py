"""The page of metrics: counts of processes that live and of those that ended, and gauges of those that live."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from scrapes import scrape
from shops import environment

from benchmarks.common import free_address
from core.errors import TandemError
from retrieval.telemetry import exposition
from retrieval.telemetry.exposition import (
    SHARED_FOLDER,
    ProcessGauges,
    SharedCounts,
    Supervision,
    counts_folder,
    serve_metrics,
)

_COUNT = """
import sys
from retrieval.telemetry.counts import open_counts
counts = open_counts()
for _ in range(int(sys.argv[1])):
    counts.add("tandem_calls_total", "a/B", "OK")
    counts.observe("tandem_call_duration_seconds", 0.03, "a/B")
    counts.observe("tandem_recall_ratio", 0.5, "shop", "all")
import os
print(os.getpid(), flush=True)
os._exit(9)
"""


def count(folder: Path, calls: int) -> int:
    """Counts in a process that ends without a word, and returns its pid."""
    command = [sys.executable, "-c", _COUNT, str(calls)]
    return int(
        subprocess.run(
            command, capture_output=True, text=True, env=environment() | {SHARED_FOLDER: str(folder)}, timeout=60
        ).stdout
    )


def values(counts: SharedCounts) -> dict[str, float]:
    families: list[Metric] = list(counts.collect())
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in families
        for sample in family.samples
        if sample.value and not sample.name.endswith("_created")
    }


def test_counts_of_processes_add_up_and_stay_when_they_end(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path)
    first, second = count(tmp_path, 3), count(tmp_path, 4)
    before = values(counts)
    assert before["tandem_calls_total"] == 7 and before["tandem_call_duration_seconds_count"] == 7
    assert before["tandem_call_duration_seconds_bucket0.035"] == 7
    assert "tandem_call_duration_seconds_bucket0.02" not in before
    assert before["tandem_recall_ratio_sum"] == 3.5 and before["tandem_recall_ratio_count"] == 7
    for pid in (first, second, 1):
        counts.absorb(pid)
        assert values(counts) == before
    assert {path.name.partition("_")[2] for path in tmp_path.iterdir()} == {"ended.db"}
    count(tmp_path, 1)
    assert values(counts)["tandem_calls_total"] == 8


def test_the_folder_is_in_memory_and_goes_with_the_service_or_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "_MEMORY", tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, other = tmp_path / f"tandem-metrics-{ended.pid}-x", tmp_path / f"tandem-metrics-{os.getpid()}-y"
    left.mkdir()
    other.mkdir()
    with counts_folder() as folder:
        assert folder.is_dir() and folder.parent == tmp_path and not left.exists() and other.exists()
    assert not folder.exists()


def test_gauges_of_processes_become_one() -> None:
    states = [
        {"tandem_in_flight": [["interactive", 2.0]], "tandem_revision": [["shop", 7.0]], "tandem_pressure": [[0.2]]},
        {"tandem_in_flight": [["interactive", 3.0]], "tandem_revision": [["shop", 5.0]], "tandem_pressure": [[0.9]]},
        {"made_up": [[1.0]]},
    ]
    [in_flight, pressure, revision] = ProcessGauges(lambda: states).collect()  # type: ignore[arg-type]
    assert [sample.value for sample in in_flight.samples] == [5] and in_flight.samples[0].labels == {
        "priority": "interactive"
    }
    assert pressure.samples[0].value == 0.9 and revision.samples[0].value == 5


def test_the_page_is_served_and_a_port_that_is_taken_is_named() -> None:
    address = free_address()
    with serve_metrics(address, [Supervision(lambda: 1, 2, lambda: 3)]) as url:
        assert url == f"http://{address}/metrics"
        samples = scrape(address)
        assert samples["tandem_processes"] == {(): 1} and samples["tandem_processes_expected"] == {(): 2}
        assert samples["tandem_process_restarts_total"] == {(): 3}
        taken = f"metrics cannot be served on {address}: .*in use; set another"
        with pytest.raises(TandemError, match=taken), serve_metrics(address, []):
            pass
    with serve_metrics(address, []):
        pass


def test_a_process_that_was_killed_before_it_wrote_anything_holds_nothing_up(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path)
    counts.absorb(count(tmp_path, 2))
    (tmp_path / "counter_999999.db").touch()
    assert values(counts)["tandem_calls_total"] == 2
    counts.absorb(999_999)
    assert values(counts)["tandem_calls_total"] == 2 and not list(tmp_path.glob("*_999999.db"))
