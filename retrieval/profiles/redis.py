"""Profiles in Redis, for the processes of several machines.

A profile is a sorted set by time at `tandem:profile:{SHOPPER}:CATALOG`, the set of its catalogs at
`tandem:profile:{SHOPPER}`; keys expire with the retention. The forgotten are a set. A Redis that persists keeps what is
deleted in its files until it next writes them anew; `forget` has it do so.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from core.errors import MissingPackageError
from retrieval.profiles.protocol import ProfileError
from retrieval.recommend.user import Action, UserEvent

_PREFIX = "tandem:profile"
_FORGOTTEN = f"{_PREFIX}:forgotten"
_SECONDS = 1.0
_SCAN = 1000
# Adds events to a profile, cuts it by time and number, and renews what expires. Atomic: nothing is added between the
# parts of forgetting.
_ADD = """
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[2]) - 1)
redis.call('SADD', KEYS[2], KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
"""


class RedisProfiles:
    """See `ProfileStore`."""

    def __init__(self, url: str) -> None:
        """Connects at first use. Raises ProfileError where the URL is none, MissingPackageError without `redis`."""
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise MissingPackageError("profiles in Redis", "redis") from None
        self._errors = redis.RedisError
        # A connection that broke is made anew, once; a server that says nothing is not asked a second time.
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        try:
            self._redis: Any = redis.Redis.from_url(
                url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=retry
            )
            self._add = self._redis.register_script(_ADD)
        except ValueError:
            raise ProfileError("the address of profiles is no Redis URL, such as redis://host:6379/0") from None

    def read(self, shopper: bytes, catalog: str, since: float) -> list[UserEvent]:
        """See `ProfileStore`."""
        with self._naming():
            entries = self._redis.zrevrangebyscore(_profile(shopper, catalog), "+inf", since, withscores=True)
            events = [_read(member, score) for member, score in entries]
        return sorted(events, key=lambda event: (-(event.time or 0), -_RANKS[event.action], event.product_id))

    def add(self, shopper: bytes, catalog: str, events: Sequence[UserEvent], since: float, most: int) -> None:
        """See `ProfileStore`."""
        if not events:
            return
        latest = max(event.time or 0 for event in events)
        keep = max(1, math.ceil(latest - since))
        values: list[Any] = [since, most, keep]
        for event in events:
            values += [repr(event.time), _member(event)]
        with self._naming():
            self._add(keys=[_profile(shopper, catalog), _catalogs(shopper)], args=values)

    def forget(self, shopper: bytes, now: float) -> int:
        """See `ProfileStore`."""
        with self._naming():
            self._redis.sadd(_FORGOTTEN, shopper)  # first: what fails below is asked for again
            names = self._redis.smembers(_catalogs(shopper))
            deleted = sum(self._redis.delete(name) for name in names)
            self._redis.delete(_catalogs(shopper))
            self._rewrite_files()
        return int(deleted)

    def _rewrite_files(self) -> None:
        """Of one that writes none, or is writing, or does not let its users ask, nothing more can be asked."""
        for rewrite in (self._redis.bgrewriteaof, self._redis.bgsave):
            with contextlib.suppress(self._errors):
                rewrite()

    def forgotten(self) -> Iterable[bytes]:
        """See `ProfileStore`."""
        with self._naming():
            return sorted(self._redis.sscan_iter(_FORGOTTEN, count=_SCAN))

    def expire(self, before: float) -> int:
        """See `ProfileStore`."""
        deleted = 0
        with self._naming():
            names = self._redis.scan_iter(match=f"{_PREFIX}:{{*}}:*", count=_SCAN)
            while some := list(islice(names, _SCAN)):
                pipeline = self._redis.pipeline(transaction=False)
                for name in some:
                    pipeline.zremrangebyscore(name, "-inf", f"({before!r}")
                deleted += sum(pipeline.execute())
        return deleted

    def close(self) -> None:
        """See `ProfileStore`."""
        self._redis.close()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of Redis may hold what was sent: their kind alone is passed on. A server that answers something else
        than was asked for makes its library raise errors of any kind."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, self._errors):  # what else it sent may wait on any connection
                self._redis.connection_pool.disconnect(inuse_connections=False)
            raise ProfileError(f"the Redis of profiles failed: {type(error).__name__}") from None


_NAMES = {Action.view: "v", Action.cart: "c", Action.purchase: "p"}
_OF_NAMES = {name: action for action, name in _NAMES.items()}
_RANKS = {Action.view: 1, Action.cart: 2, Action.purchase: 3}


def _catalogs(shopper: bytes) -> str:
    return f"{_PREFIX}:{{{shopper.hex()}}}"


def _profile(shopper: bytes, catalog: str) -> str:
    """With the shopper in braces, so that a cluster keeps all keys of one together."""
    return f"{_catalogs(shopper)}:{catalog}"


def _member(event: UserEvent) -> str:
    """Events differ by product, action and time, which is repeated here: a score may be of several."""
    return json.dumps([event.product_id, _NAMES[event.action], event.time], ensure_ascii=False)


def _read(member: bytes, score: float) -> UserEvent:
    product_id, action, _ = json.loads(member)
    return UserEvent(product_id, float(score), _OF_NAMES[action])
