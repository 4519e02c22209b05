"""What a process reports of itself."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from retrieval.server.admission import Admission
from retrieval.telemetry.gauges import last_revisions, read_admission, read_certificate, read_releases
from retrieval.telemetry.state import StateReader, read_disk, read_memory


def release(revision: int, trouble: str | None = None, last: int = 0) -> Any:
    class View:
        def __init__(self) -> None:
            self.revision = revision

        def __len__(self) -> int:
            return 30

    manifest = SimpleNamespace(created=datetime(2026, 1, 1, tzinfo=UTC))
    overlay = SimpleNamespace(fresh=4, revision=revision)
    entries = SimpleNamespace(bounds=lambda: (1, last))
    engine = SimpleNamespace(trouble=trouble)
    live = SimpleNamespace(overlay=overlay, entries=entries)
    return SimpleNamespace(release_id="r-1", view=View(), manifest=manifest, live=live, engine=engine)


def test_releases_are_named_with_what_they_serve() -> None:
    manager: Any = SimpleNamespace(loaded={"shop": release(3)}, refused_catalogs={"shop", "gone"})
    reader = StateReader()
    reader.add(read_releases(manager, {}, 100))
    state = reader.read()
    assert state["tandem_release_info"] == [["shop", "r-1", 1.0]]
    assert state["tandem_release_timestamp_seconds"] == [["shop", 1767225600.0]]
    assert state["tandem_release_products"] == [["shop", 30.0]] and state["tandem_revision"] == [["shop", 3.0]]
    assert state["tandem_fresh_products"] == [["shop", 4.0]] and state["tandem_fresh_products_limit"] == [[100.0]]
    assert state["tandem_release_refused"] == [["shop", 1.0], ["gone", 1.0]]
    assert state["tandem_engine_up"] == [["shop", 1.0]]
    manager.loaded["shop"] = release(3, "it hangs")
    assert reader.read()["tandem_engine_up"] == [["shop", 0.0]]


def test_the_lag_grows_while_a_change_is_not_served_and_ends_with_it() -> None:
    now = [100.0]
    manager: Any = SimpleNamespace(loaded={"shop": release(3)}, refused_catalogs=set())
    last: dict[str, int] = {}
    read = read_releases(manager, last, 100, lambda: now[0])

    def lag() -> float:
        state: dict[str, list[list]] = {}
        read(state)
        [[_, value]] = state["tandem_revision_lag_seconds"]
        return float(value)

    def serve(revision: int) -> None:
        manager.loaded["shop"] = release(revision)

    assert lag() == 0
    last["shop"] = 5
    assert lag() == 0
    now[0], last["shop"] = 103.0, 9
    assert lag() == 3, "since 5 is missing, whatever came later"
    serve(5)
    assert lag() == 0, "5 is served, 9 is missing as of now"
    now[0] = 105.0
    assert lag() == 2
    serve(9)
    assert lag() == 0


def test_the_certificate_in_use_is_read_each_time() -> None:
    certificate = SimpleNamespace(expires=1000.0)
    reader = StateReader()
    reader.add(read_certificate(certificate))
    assert reader.read() == {"tandem_certificate_expiry_timestamp_seconds": [[1000.0]]}
    certificate.expires = 2000.0
    assert reader.read() == {"tandem_certificate_expiry_timestamp_seconds": [[2000.0]]}


def test_logs_are_asked_for_their_last_revisions() -> None:
    manager: Any = SimpleNamespace(loaded={"shop": release(3, last=8)})
    assert last_revisions(manager) == {"shop": 8}


def test_room_and_memory_are_reported(tmp_path: Path) -> None:
    admission = Admission(4)
    permits = [admission.take(), admission.take_bulk()]
    reader = StateReader()
    for read in (read_admission(admission, lambda: 2), read_disk(tmp_path), read_disk(tmp_path / "gone"), read_memory):
        reader.add(read)
    state = reader.read()
    assert all(permits) and state["tandem_in_flight"] == [["interactive", 1.0], ["batch", 1.0]]
    assert state["tandem_in_flight_limit"] == [[4.0]] and state["tandem_bulk_waiting"] == [[2.0]]
    [[free]], [[size]] = state["tandem_disk_free_bytes"], state["tandem_disk_size_bytes"]
    assert 0 < free <= size and state["tandem_resident_memory_bytes"][0][0] > 1 << 20
