"""Work that is not done twice: values by a digest of what they were computed from, bounded in bytes.

Keys are made of the catalog and of content, the model's digest and the tokens it reads, and of nothing else. So a value
stays right whatever release is in service: another model never finds it, the same one finds it again, and a product
whose text changed has other tokens. No catalog finds another's, whose callers may be strangers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import numpy as np
from cachetools import LRUCache

from engine.protocol import Candidates, DeadlineExceeded, Tokens, Vectors

Value = TypeVar("Value", float, Vectors, Candidates)

# What an entry takes beside its numbers: key, size and place in the order, as tracemalloc saw it, rounded up; and what
# candidates take more.
_ENTRY_BYTES = 480
_CANDIDATES_BYTES = 240
_DIGEST_BYTES = 16


@dataclass(slots=True)
class CacheCounts:
    """Since the start: values found, values computed, and values that another call was computing already."""

    hits: int = 0
    misses: int = 0
    shared: int = 0

    @property
    def lookups(self) -> int:
        """The number of values requested."""
        return self.hits + self.misses + self.shared

    @property
    def hit_rate(self) -> float:
        """The share of values that were not computed for the request; 0 before the first request."""
        return (self.hits + self.shared) / self.lookups if self.lookups else 0.0


class Cache(Generic[Value]):
    """The least recently used values go first. For use from one event loop."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes; 0 keeps nothing."""
        self.limit = limit
        self.counts = CacheCounts()
        self._values: LRUCache[bytes, Value] = LRUCache(limit, getsizeof=_size)
        self._running: dict[bytes, asyncio.Future[Value]] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def size(self) -> int:
        """Bytes in use."""
        return int(self._values.currsize)

    def holds(self, key: bytes) -> bool:
        """Whether the value is there. Counts for nothing."""
        return key in self._values

    async def fetch(
        self, keys: Sequence[bytes], compute: Callable[[list[int]], Awaitable[Sequence[Value]]]
    ) -> list[Value]:
        """Values in the order of the keys. `compute` gets the places of those to make, and makes them in that order.

        What another call is computing is waited for. Should that call be cancelled, run out of time or fail, one of
        those who wait computes it and the others wait for that one; a second failure is theirs too. Raises what
        `compute` raises.
        """
        if not self.limit:
            self.counts.misses += len(keys)
            return list(await compute(list(range(len(keys)))))
        places = {key: place for place, key in enumerate(keys)}
        values = self._cached(places)
        self.counts.hits += len(values)
        failed = False
        while missing := [key for key in places if key not in values]:
            theirs = {key: future for key in missing if (future := self._running.get(key))}
            self.counts.shared += len(theirs)
            values |= await self._make([key for key in missing if key not in theirs], places, compute)
            if theirs:
                await asyncio.wait(theirs.values())
                made, error = _outcomes(theirs)
                values |= made
                if error is not None and failed:
                    raise error
                failed = failed or error is not None
                values |= self._cached(key for key in missing if key not in values)
        return [values[key] for key in keys]

    async def _make(
        self,
        keys: list[bytes],
        places: dict[bytes, int],
        compute: Callable[[list[int]], Awaitable[Sequence[Value]]],
    ) -> dict[bytes, Value]:
        if not keys:
            return {}
        self.counts.misses += len(keys)
        loop = asyncio.get_running_loop()
        futures: dict[bytes, asyncio.Future[Value]] = {key: loop.create_future() for key in keys}
        self._running |= futures
        try:
            made = dict(zip(keys, await compute([places[key] for key in keys]), strict=True))
            for key, value in made.items():
                self._keep(key, value)
                futures[key].set_result(value)
            return made
        except Exception as error:
            if not isinstance(error, DeadlineExceeded):  # which is this call's own
                for future in futures.values():
                    future.set_exception(error)
                    future.exception()  # read here, since perhaps nobody waits
            raise
        finally:
            for key, future in futures.items():
                if self._running.get(key) is future:
                    del self._running[key]
                future.cancel()  # without effect where there is a value or an error

    def _cached(self, keys: Iterable[bytes]) -> dict[bytes, Value]:
        return {key: value for key in keys if (value := self._values.get(key)) is not None}

    def _keep(self, key: bytes, value: Value) -> None:
        if _size(value) <= self.limit:
            self._values[key] = value


@dataclass(slots=True)
class Caches:
    """Query vectors by query tower and tokens; products found by index and vector; logits by cross-encoder, query and
    product. Shared by all releases of a process."""

    vectors: Cache[Vectors] = field(default_factory=lambda: Cache(0))
    candidates: Cache[Candidates] = field(default_factory=lambda: Cache(0))
    scores: Cache[float] = field(default_factory=lambda: Cache(0))

    @classmethod
    def with_limits(cls, vector_bytes: int, candidate_bytes: int, score_bytes: int) -> "Caches":
        """Each bounded in bytes; 0 turns one off."""
        return cls(Cache(vector_bytes), Cache(candidate_bytes), Cache(score_bytes))

    def __str__(self) -> str:
        named: dict[str, Cache[Any]] = {
            "query vectors": self.vectors,
            "candidates": self.candidates,
            "rerank scores": self.scores,
        }
        return "; ".join(
            f"{name}: {cache.counts.hit_rate:.3f} of {cache.counts.lookups} found, "
            f"{len(cache)} kept in {cache.size / 2**20:.1f} MiB"
            for name, cache in named.items()
        )


def tokens_key(model: str, tokens: Tokens) -> bytes:
    """The key of a query's tokens, shape (t,), read by the model with this digest."""
    return blake2b(model.encode() + tokens.tobytes(), digest_size=_DIGEST_BYTES).digest()


def pair_keys(model: str, query: Tokens, products: Sequence[Tokens]) -> list[bytes]:
    """The keys of a query with each product, without special tokens; `model` is the digest of model and packing."""
    start = blake2b(model.encode(), digest_size=_DIGEST_BYTES)
    start.update(len(query).to_bytes(4, "little") + query.tobytes())  # the length, lest one run into the other
    keys = []
    for product in products:
        digest = start.copy()
        digest.update(product.tobytes())
        keys.append(digest.digest())
    return keys


def candidates_key(index: str, vector: Vectors, *lookups: str | int | bytes) -> bytes:
    """The key of a lookup of a vector in the index with this digest; `lookups` are all other arguments, in order."""
    data = repr((index, lookups)).encode()
    return blake2b(data + vector.tobytes(), digest_size=_DIGEST_BYTES).digest()


def _outcomes(futures: Mapping[bytes, asyncio.Future[Value]]) -> tuple[dict[bytes, Value], BaseException | None]:
    """The values of finished futures, and the first error; cancelled ones have neither."""
    ended = {key: future for key, future in futures.items() if not future.cancelled()}
    errors = [error for future in ended.values() if (error := future.exception()) is not None]
    values = {key: future.result() for key, future in ended.items() if future.exception() is None}
    return values, errors[0] if errors else None


def _size(value: float | Vectors | Candidates) -> int:
    if isinstance(value, Candidates):
        return _ENTRY_BYTES + _CANDIDATES_BYTES + value.rows.nbytes + value.scores.nbytes
    return _ENTRY_BYTES + (value.nbytes if isinstance(value, np.ndarray) else 0)
