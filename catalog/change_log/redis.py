"""The change log as a Redis stream, for services on several machines. An entry's id in the stream is `<revision>-0`.

An append names the revision that it expects to be the last, so that of two writers one wins, and the other tries again
behind it. Where a reply is lost, the stream is asked for the append's token before anything is sent again: an append
that is still under way then fails by the revision that it expects.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from catalog.change_log.group import GroupCommit
from catalog.change_log.protocol import ends_early
from catalog.changes import Entry, NewEntry, decode_entry, encode_entry
from core.errors import ChangeLogError, EntriesDropped, MissingPackageError
from core.strings import quoted

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    raise MissingPackageError("a change log in Redis", "redis") from None

if TYPE_CHECKING:
    from redis.client import Pipeline

log = logging.getLogger("tandem.changes")

# KEYS: stream, id of the log. ARGV: expected last revision, token, an id for a new log, entries.
# Returns the last revision: the expected one where the entries were added behind it.
_APPEND = """
local last = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = tonumber(string.match(info[i + 1], '^%d+')) end
  end
end
if last ~= tonumber(ARGV[1]) then return last end
redis.call('SET', KEYS[2], ARGV[3], 'NX')
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], string.format('%d-0', last + i - 3), 't', ARGV[2], 'e', ARGV[i])
end
return last
"""
_GROUP_BYTES = 8 << 20
_READ_BYTES = 32 << 20
_FIRST_ENTRIES, _READ_ENTRIES = 3, 256  # of one call: until the size of entries is known, and at most
_BLOCK_MS = 500
_PAUSE_SECONDS = (0.0, 0.05, 0.2, 0.5, 1.0)
_SYNC_MS = 5_000
T = TypeVar("T")


class RedisChangeLog:
    """A change log in a stream of a Redis server. Makes connections anew as they break."""

    def __init__(self, url: str, catalog: str, timeout: float = 5.0) -> None:
        """Raises ChangeLogError for a URL that is none; the server is first called when it is needed."""
        try:
            self._client = redis.Redis.from_url(
                url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
            )
        except ValueError:  # its text may have the password
            raise ChangeLogError(
                "the address of the change log is not one of Redis: use redis://host:port/0, with user:password@ "
                "before the host where the server asks for it, rediss:// for TLS, or unix:///path"
            ) from None
        address = self._client.connection_pool.connection_kwargs
        place = address.get("path") or f"{address.get('host', 'localhost')}:{address.get('port', 6379)}"
        self._name = f"change log of catalog {quoted(catalog)} in Redis at {place}"
        self._stream = f"tandem:{{{catalog}}}:changes"
        self._id = f"tandem:{{{catalog}}}:changes:id"
        self._group = GroupCommit(self._commit, _GROUP_BYTES)
        self._checked = False
        self._waits = self._warned = False
        self._expected = 0
        self._closed = threading.Event()

    @property
    def id(self) -> str:
        """See `ChangeLog`."""
        known = self._call(partial(self._client.get, self._id))
        return known.decode("ascii", "replace") if known else ""

    def append(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """See `ChangeLog`."""
        if not entries:
            return []
        first = self._group.add([encode_entry(entry) for entry in entries])
        return [Entry(e.time, e.request_id, e.changes, first + place) for place, e in enumerate(entries)]

    def read(self, after: int, most: int = 1000) -> list[Entry]:
        """See `ChangeLog`."""
        entries: list[Entry] = []
        size = 0
        while len(entries) < most and size < _READ_BYTES:
            likely = _FIRST_ENTRIES if not size else _READ_BYTES // 4 * len(entries) // size
            count = min(max(1, likely), _READ_ENTRIES, most - len(entries))
            rows = self._call(partial(self._range, after + 1, count))
            for name, fields in rows:
                if _revision(name) != after + 1:
                    break
                entries.append(decode_entry(fields[b"e"], after + 1))
                size += len(fields[b"e"])
                after += 1
            if len(rows) < count or _revision(rows[-1][0]) != after:
                break
        if not entries and most > 0:
            self._check_end(after)
        return entries

    def _check_end(self, after: int) -> None:
        """Raises ChangeLogError where there should be an entry behind `after`, or the log ends before."""
        first, last = self.bounds()
        if after > last:
            raise ends_early(self._name, last, after)
        if after + 1 < first:
            raise EntriesDropped(self._name, after + 1, first)
        if after < last and not self._call(partial(self._range, after + 1, 1, after + 1)):
            raise ChangeLogError(
                f"{self._name} lacks entry {after + 1:,}: put the data of the server back from a backup"
            )

    def bounds(self) -> tuple[int, int]:
        """See `ChangeLog`."""
        return self._call(self._bounds)

    def wait(self, after: int, seconds: float) -> bool:
        """See `ChangeLog`."""
        until = time.monotonic() + seconds
        while not self._closed.is_set():
            remaining = until - time.monotonic()
            block = max(1, min(_BLOCK_MS, int(remaining * 1000)))
            if self._call(partial(self._client.xread, {self._stream: f"{after}-0"}, count=1, block=block)):
                return True
            if time.monotonic() >= until:
                break
        return False

    def drop(self, through: int) -> None:
        """See `ChangeLog`."""
        if through > 0:
            self._call(partial(self._client.xtrim, self._stream, minid=f"{through + 1}-0", approximate=False))

    def close(self) -> None:
        """See `ChangeLog`."""
        self._closed.set()
        self._client.connection_pool.disconnect(inuse_connections=False)  # who waits sees the end soon

    def _commit(self, payloads: Sequence[bytes]) -> int:
        """Adds the entries and returns the revision of the first. Raises ChangeLogError."""
        token = uuid.uuid4().hex
        unsure: list[int] = []  # what sendings without a reply expected to be the last revision
        failure: Exception | None = None
        for pause in _PAUSE_SECONDS:
            self._closed.wait(pause)
            try:
                return self._add(payloads, token, unsure)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                self._checked, failure = False, error
                if isinstance(error, redis.exceptions.AuthenticationError | redis.exceptions.AuthorizationError):
                    break
            except Exception as error:
                self._forget_connections(error)
                failure = error
                break
        fate = "it is unknown whether these changes are kept" if unsure else "none of these changes is kept"
        raise ChangeLogError(
            f"{self._name} cannot be written: {_reason(failure)}; {fate}: see to the server, and send them again with "
            "the same request id"
        ) from None

    def _forget_connections(self, error: Exception) -> None:
        """What else a server sent that answered nonsense may wait on any connection."""
        if not isinstance(error, redis.exceptions.RedisError):
            self._checked = False
            self._client.connection_pool.disconnect(inuse_connections=False)

    def _add(self, payloads: Sequence[bytes], token: str, unsure: list[int]) -> int:
        self._check_server()
        while True:
            for expected in unsure:
                if self._token(expected + 1) == token:
                    self._wait_for_disk(self._client.pipeline(transaction=False).set(f"{self._id}:sync", token))
                    self._expected = expected + len(payloads)
                    return expected + 1
            expected = self._expected
            if expected not in unsure:
                unsure.append(expected)
            command = self._client.pipeline(transaction=False)
            arguments = (expected, token, uuid.uuid4().hex, *payloads)
            try:
                last = int(self._wait_for_disk(command.eval(_APPEND, 2, self._stream, self._id, *arguments)))
            except redis.exceptions.ResponseError:  # refused as a whole
                unsure.remove(expected)
                raise
            if last == expected:
                self._expected += len(payloads)
                return last + 1
            if last < expected:
                raise ends_early(self._name, last, expected)
            if self._token(expected + 1) != token:
                unsure.remove(expected)
            self._expected = last  # another writer was first

    def _wait_for_disk(self, command: "Pipeline") -> Any:
        """Runs the commands on one connection and returns the first's reply, once the server's disk has it."""
        if self._waits:
            command.execute_command("WAITAOF", 1, 0, _SYNC_MS)
        reply, *synced = command.execute(raise_on_error=False)
        if isinstance(reply, Exception):
            raise reply
        if synced and (isinstance(synced[0], Exception) or not synced[0][0]):
            raise redis.exceptions.TimeoutError("the server's disk has not confirmed them")
        return reply

    def _token(self, revision: int) -> str:
        rows = self._range(revision, 1, revision)
        return rows[0][1].get(b"t", b"").decode("ascii", "replace") if rows else ""

    def _range(self, first: int, count: int, last: int | None = None) -> list[tuple[bytes, dict[bytes, bytes]]]:
        end = "+" if last is None else f"{last}-0"
        rows: list[tuple[bytes, dict[bytes, bytes]]] = self._client.xrange(self._stream, f"{first}-0", end, count)
        return rows

    def _bounds(self) -> tuple[int, int]:
        try:
            stream = self._client.xinfo_stream(self._stream)
        except redis.exceptions.ResponseError as error:
            if "no such key" in str(error).lower():
                return 1, 0
            raise
        last = _revision(stream["last-generated-id"])
        first = stream["first-entry"]
        return (_revision(first[0]) if first else last + 1), last

    def _check_server(self) -> None:
        """Finds out how the server makes writes durable, and warns once where a crash can lose what it confirmed."""
        if self._checked:
            return
        settings: dict[str, str] = {}
        with contextlib.suppress(redis.exceptions.ResponseError):  # not every server lets a user see them
            settings = self._client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")
        kept = settings.get("appendonly") == "yes"
        always = kept and settings.get("appendfsync") == "always"
        self._waits = kept and not always and _version(self._client.info("server")) >= (7, 2)
        self._checked = True
        if self._warned:
            return
        self._warned = True
        if not always and not self._waits:
            log.warning(
                "%s: a crash of the server may lose changes that were confirmed; set appendonly yes and appendfsync "
                "always there",
                self._name,
            )
        if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy", "").startswith("allkeys"):
            log.warning("%s: the server drops keys when it is full; set maxmemory-policy noeviction there", self._name)

    def _call(self, call: Callable[[], T]) -> T:
        """The result of a call that changes nothing that matters twice. Raises ChangeLogError."""
        failure: Exception | None = None
        for pause in _PAUSE_SECONDS[:3]:
            self._closed.wait(pause)
            try:
                return call()
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                self._checked, failure = False, error
            except Exception as error:  # of any kind, where the server answers something else than was asked for
                self._forget_connections(error)
                failure = error
                break
        raise ChangeLogError(f"{self._name} cannot be read: {_reason(failure)}: see to the server")


def _revision(name: bytes | str) -> int:
    text = name.decode("ascii") if isinstance(name, bytes) else name
    return int(text.partition("-")[0])


def _version(server: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in str(server.get("redis_version", "0")).split(".")[:2] if part.isdigit())


def _reason(error: Exception | None) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
