import json
import os
import socket
from pathlib import Path

from benchmarks.common import NO_CACHES, cpu_seconds, free_address, save
from retrieval.server.settings import ServeSettings


def test_results_are_kept_with_parameters_hardware_and_versions(tmp_path: Path) -> None:
    path = save("some", {"seconds": 3}, {"rate": 7}, tmp_path / "new")
    reported = json.loads(path.read_text())
    assert path == tmp_path / "new" / "some.json"
    assert (reported["parameters"], reported["results"]) == ({"seconds": 3}, {"rate": 7})
    assert reported["hardware"]["cores"] >= 1 and "numpy" in reported["versions"]


def test_processor_time_grows_with_work() -> None:
    before = cpu_seconds(os.getpid())
    for _ in range(100):
        sum(range(1_000_000))
    assert cpu_seconds(os.getpid()) > before


def test_a_free_address_can_be_listened_on() -> None:
    host, _, port = free_address().rpartition(":")
    with socket.socket() as server:
        server.bind((host, int(port)))
        assert server.getsockname() == ("127.0.0.1", int(port))


def test_caches_are_turned_off_by_settings_that_there_are(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for name, value in NO_CACHES.items():
        monkeypatch.setenv(name, value)
    settings = ServeSettings()
    assert settings.query_cache_bytes == settings.candidate_cache_bytes == settings.score_cache_bytes == 0
    assert ServeSettings.model_fields["score_cache_bytes"].default > 0
