"""Releases are swapped again and again under load: no call fails, no answer is of two releases, and nothing is left."""

import time
from pathlib import Path

import pytest
from served import Bystander, Served, p99, served
from shops import index, write_feed
from torture import SCALE, amount

from core.releases import ReleaseStore
from indexer.models import ModelFolders
from tandem.client import SearchClient
from tandem.v1 import search_pb2

WARM = 10  # swaps until allocators hold what they will hold


def swap(store: ReleaseStore, client: SearchClient, release: str) -> None:
    """Returns once the release answers."""
    store.point("default", release)
    end = time.monotonic() + 60
    while client.search(search_pb2.SearchRequest(query="lamp")).release_id != release:
        assert time.monotonic() < end
        time.sleep(0.01)


def state(service: Served) -> tuple[int, int, int]:
    """Memory, descriptors and threads."""
    return service.memory, service.descriptors, service.process.num_threads()


@pytest.mark.torture
def test_swaps_under_load_fail_and_mix_nothing_and_leave_nothing(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    first = store.current("default")
    assert first is not None
    second = index(write_feed(tmp_path / "b.jsonl", "b-"), models, store).manifest.release_id
    prefixes = {first: "a-", second: "b-"}
    config = tmp_path / "serve.toml"
    config.write_text("poll_seconds = 0.05\n")
    swaps = amount(16, 1000)
    with (
        served(store, "--config", config) as service,
        SearchClient(service.address, 30) as client,
        Bystander(service.address) as one,
        Bystander(service.address) as other,
    ):
        quiet = one.wait(amount(30, 1000))
        for number in range(WARM):
            swap(store, client, (first, second)[number % 2])
        begun, before = len(one.seconds), state(service)
        for number in range(swaps):
            swap(store, client, (first, second)[number % 2])
            one.wait(amount(2, 50))
        swapping = one.seconds[begun:]
        time.sleep(1)  # the last one's remains
        after = state(service)
    ratio = p99(swapping) / p99(quiet)
    grown = (after[0] - before[0]) / swaps
    print(f"{swaps} swaps, {len(one.seconds) + len(other.seconds)} calls, p99 {ratio:.2f} times steady")
    print(f"memory {before[0] >> 20} to {after[0] >> 20} MiB: {grown / 1024:.1f} KiB a swap")
    print(f"descriptors {before[1]} to {after[1]}, threads {before[2]} to {after[2]}")
    assert one.failures == other.failures == []
    assert one.mixtures | other.mixtures == set(prefixes.items())
    assert after[1] <= before[1] + 4 and after[2] <= before[2] + 8
    assert grown < (32 << 10 if SCALE else 4 << 20)
