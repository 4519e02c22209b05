import asyncio
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from engine.cache import Cache, Caches, candidates_key, pair_keys, tokens_key
from engine.protocol import Candidates, DeadlineExceeded, EngineError


class Maker:
    """Makes 10 times a place; tells what it was asked for, and waits for `go` where there is one."""

    def __init__(self, go: asyncio.Event | None = None, broken: bool = False) -> None:
        self.asked: list[list[int]] = []
        self.go, self.broken = go, broken

    async def __call__(self, places: list[int]) -> Sequence[float]:
        self.asked.append(places)
        if self.go is not None:
            await self.go.wait()
        if self.broken:
            raise ValueError("broken")
        return [10.0 * place for place in places]


def keys(*names: str) -> list[bytes]:
    return [name.encode() for name in names]


async def test_what_was_made_is_not_made_again() -> None:
    cache: Cache[float] = Cache(10_000)
    make = Maker()
    assert await cache.fetch(keys("a", "b"), make) == [0, 10]
    assert await cache.fetch(keys("b", "c", "a"), make) == [10, 10, 0]
    assert make.asked == [[0, 1], [1]]
    assert (cache.counts.hits, cache.counts.misses, cache.counts.shared) == (2, 3, 0)
    assert cache.counts.hit_rate == 0.4


async def test_a_key_asked_twice_at_once_is_made_once() -> None:
    make = Maker()
    assert await Cache[float](10_000).fetch(keys("a", "b", "a"), make) == [20, 10, 20]
    assert make.asked == [[2, 1]]


async def test_a_limit_of_zero_keeps_nothing() -> None:
    cache: Cache[float] = Cache(0)
    make = Maker()
    for _ in range(2):
        assert await cache.fetch(keys("a", "a"), make) == [0, 10]
    assert make.asked == [[0, 1]] * 2 and len(cache) == 0 and cache.counts.hits == 0


async def test_the_least_recently_used_goes_first() -> None:
    cache: Cache[float] = Cache(3 * 480)
    for name in ("a", "b", "c", "a", "d"):
        await cache.fetch(keys(name), Maker())
    assert [cache.holds(key) for key in keys("a", "b", "c", "d")] == [True, False, True, True]
    assert len(cache) == 3 and cache.size <= cache.limit


async def test_a_value_larger_than_the_limit_is_handed_out_and_not_kept() -> None:
    cache: Cache[np.ndarray] = Cache(1000)

    async def make(_: list[int]) -> list[np.ndarray]:
        return [np.zeros(1000, np.float32)]

    assert len((await cache.fetch(keys("a"), make))[0]) == 1000
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        (lambda: 0.5 * np.random.default_rng(0).random(), 12_000),
        (lambda: np.zeros(384, np.float32), 2_000),
        (lambda: Candidates(np.zeros(100, np.int64), np.zeros(100, np.float32)), 2_000),
    ],
    ids=["score", "vector", "candidates"],
)
async def test_memory_stays_within_the_limit(value: Callable[[], Any], entries: int) -> None:
    limit = 2 << 20

    async def make(_: list[int]) -> list:
        return [value()]

    await Cache[float](limit).fetch(keys("first"), make)  # imports and the like are paid for
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cache: Cache = Cache(limit)
        for i in range(entries):
            await cache.fetch([tokens_key("m", np.array([i], np.int32))], make)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert limit * 0.9 < cache.size <= limit
    assert used <= limit * 1.05


async def test_equal_work_under_way_is_waited_for() -> None:
    cache: Cache[float] = Cache(10_000)
    go = asyncio.Event()
    first, second = Maker(go), Maker(go)
    one = asyncio.create_task(cache.fetch(keys("a", "b"), first))
    await asyncio.sleep(0)
    two = asyncio.create_task(cache.fetch(keys("x", "b"), second))
    await asyncio.sleep(0)
    go.set()
    assert await one == [0, 10] and await two == [0, 10]
    assert first.asked == [[0, 1]] and second.asked == [[0]]
    assert (cache.counts.misses, cache.counts.shared) == (3, 1)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_work_of_a_call_that_ends_early_is_done_by_who_waits(how: str) -> None:
    cache: Cache[float] = Cache(10_000)
    go = asyncio.Event()
    first, second = Maker(go, broken=how == "failed"), Maker()
    one = asyncio.create_task(cache.fetch(keys("a"), first))
    await asyncio.sleep(0)
    two = asyncio.create_task(cache.fetch(keys("z", "a"), second))
    await asyncio.sleep(0)
    if how == "cancelled":
        one.cancel()
    go.set()
    assert await two == [0, 10]
    assert second.asked == [[0], [1]]
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else ValueError):
        await one
    assert cache.holds(b"a")


@pytest.mark.parametrize(
    ("error", "computed"), [(EngineError("broken"), 2), (DeadlineExceeded(), 51)], ids=["failed", "late"]
)
async def test_fifty_who_wait_do_not_all_compute_at_once(error: Exception, computed: int) -> None:
    """A failure is tried once more, then shared; a deadline is its caller's own, so the next one tries, alone."""
    cache: Cache[float] = Cache(10_000)
    running = most = calls = 0

    async def compute(_: list[int]) -> Sequence[float]:
        nonlocal running, most, calls
        running, calls = running + 1, calls + 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        raise error

    ended = await asyncio.gather(*(cache.fetch(keys("a"), compute) for _ in range(51)), return_exceptions=True)
    assert ended == [error] * 51
    assert (most, calls) == (1, computed)


async def test_one_who_waits_computes_for_all_that_wait() -> None:
    cache: Cache[float] = Cache(10_000)
    go = asyncio.Event()
    makers = [Maker(go, broken=number == 0) for number in range(50)]
    calls = [asyncio.create_task(cache.fetch(keys("z", "a"), maker)) for maker in makers]
    await asyncio.sleep(0)
    go.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(ended[0], ValueError) and ended[1:] == [[0, 10]] * 49
    assert sum(len(maker.asked) for maker in makers) == 2


async def test_who_waits_may_leave_and_the_work_goes_on() -> None:
    cache: Cache[float] = Cache(10_000)
    go = asyncio.Event()
    one = asyncio.create_task(cache.fetch(keys("a"), Maker(go)))
    await asyncio.sleep(0)
    two = asyncio.create_task(cache.fetch(keys("a"), Maker()))
    await asyncio.sleep(0)
    two.cancel()
    go.set()
    assert await one == [0]


def test_keys_tell_models_and_tokens_apart() -> None:
    texts = [np.array(tokens, np.int32) for tokens in ([], [1], [1, 2], [2, 1], [2])]
    queries = [tokens_key(model, text) for model in ("m", "n") for text in texts]
    pairs = [key for model in ("m", "n") for query in texts for key in pair_keys(model, query, texts)]
    vectors = [np.array([value], np.float32) for value in (0.0, 0.1)]
    asked = [("retrieve", 5, "", 0), ("retrieve", 6, "", 0), ("retrieve", 5, "red", 0), ("retrieve", 5, "", 1)]
    result = [candidates_key(index, vector, *ask) for index in ("i", "j") for vector in vectors for ask in asked]
    assert len(set(result)) == 2 * 2 * 4
    assert len(set(queries)) == 2 * 5 and len(set(pairs)) == 2 * 5 * 5
    assert pair_keys("m", texts[1], texts)[2:4] == pair_keys("m", texts[1].copy(), texts[2:4])
    assert tokens_key("m", texts[2]) == tokens_key("m", texts[2].copy())


async def test_caches_tell_what_they_brought() -> None:
    caches = Caches.with_limits(10_000, 10_000, 0)
    for _ in range(4):
        await caches.scores.fetch(keys("a"), Maker())
    assert "query vectors: 0.000 of 0 found, 0 kept" in str(caches)
    assert "rerank scores: 0.000 of 4 found, 0 kept" in str(caches)
