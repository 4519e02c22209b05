"""The change log in Redis: lost replies, servers that end and begin again, and what is stated of durability."""

import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from changes import entry
from redis.client import Pipeline
from redis.exceptions import ResponseError
from redis_servers import free_port, redis_server

from catalog.change_log.open import open_change_log
from catalog.change_log.protocol import ChangeLog
from core.errors import ChangeLogError


class Proxy:
    """Hands bytes on to a server and back. While `lossy` has a number left, replies to appends are lost."""

    def __init__(self, port: int) -> None:
        self.port, self.lossy, self.lost = port, 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            while data := client.recv(1 << 20):
                server.sendall(data)
                reply = server.recv(1 << 20)
                if b"EVAL" in data and self.lossy:
                    self.lossy -= 1
                    self.lost += 1
                    return
                client.sendall(reply)


@contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    proxy = Proxy(int(url.rpartition(":")[2].partition("/")[0]))
    try:
        yield proxy
    finally:
        with suppress(OSError):  # closed already
            proxy.close()


def open_redis(url: str, catalog: str = "") -> ChangeLog:
    return open_change_log(url, Path("unused"), catalog or uuid.uuid4().hex)


def ids(log: ChangeLog) -> list[str]:
    return [one.request_id for one in log.read(0)]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_an_append_whose_reply_is_lost_is_in_the_log_once(redis_url: str, lost: int) -> None:
    with proxied(redis_url) as proxy:
        log = open_redis(f"redis://127.0.0.1:{proxy.address}/0")
        log.append([entry("a")])
        proxy.lossy = lost
        assert [one.revision for one in log.append([entry("b"), entry("c")])] == [2, 3]
        assert [one.revision for one in log.append([entry("d")])] == [4]
        assert ids(log) == ["a", "b", "c", "d"] and 1 <= proxy.lost <= lost


def test_what_stays_without_a_reply_is_called_unknown(redis_url: str) -> None:
    with proxied(redis_url) as proxy:
        log = open_redis(f"redis://127.0.0.1:{proxy.address}/0")
        log.append([entry("a")])
        proxy.close()
        proxy.lossy = 1
        with pytest.raises(ChangeLogError, match="it is unknown whether these changes are kept: see to the server"):
            log.append([entry("b")])


def test_another_writer_may_come_first(redis_url: str) -> None:
    catalog = uuid.uuid4().hex
    first, second = open_redis(redis_url, catalog), open_redis(redis_url, catalog)
    for number in range(10):
        assert first.append([entry(f"{number}a")])[0].revision == 2 * number + 1
        assert second.append([entry(f"{number}b")])[0].revision == 2 * number + 2


def test_a_server_that_is_killed_and_begins_again_has_all_that_was_confirmed(tmp_path: Path) -> None:
    port = free_port()
    confirmed: list[str] = []
    for run in range(3):
        with redis_server(tmp_path, port=port) as (_, server):
            if not run:
                log = open_redis(f"redis://127.0.0.1:{port}/0", "shop")
            assert ids(log) == confirmed
            for number in range(20):
                name = f"{run}-{number}"
                assert log.append([entry(name)])[0].revision == len(confirmed) + 1
                confirmed.append(name)
            server.kill()
            server.wait()
    with pytest.raises(ChangeLogError, match="cannot be read"):
        log.read(0)


def test_a_server_that_lost_entries_is_noticed(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    options = ("--appendonly", "no")
    with redis_server(tmp_path, *options, port=port):
        log = open_redis(url, "shop")
        log.append([entry("a"), entry("b")])
        identity = log.id
    with redis_server(tmp_path, *options, port=port):
        with pytest.raises(ChangeLogError, match="ends at revision 0, before 2"):
            log.append([entry("c")])
        with pytest.raises(ChangeLogError, match="ends at revision 0, before 2"):
            log.read(2)
        other = open_redis(url, "shop")
        other.append([entry("d")])
        assert other.id not in (identity, "")


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ((), ""),
        (("--appendfsync", "everysec"), "set appendonly yes and appendfsync always"),
        (("--appendonly", "no"), "set appendonly yes and appendfsync always"),
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "set maxmemory-policy noeviction"),
    ],
)
def test_a_server_that_may_lose_changes_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: tuple[str, ...], warning: str
) -> None:
    with redis_server(tmp_path, *options) as (port, _), caplog.at_level(logging.WARNING, "tandem.changes"):
        log = open_redis(f"redis://127.0.0.1:{port}/0")
        for name in "abc":
            log.append([entry(name)])
        texts = [record.getMessage() for record in caplog.records]
        # Servers from 7.2 on are asked to confirm each write instead.
        assert len(texts) == 0 if not warning else all(warning in text for text in texts) and len(texts) <= 1


def test_a_full_server_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as (port, _):
        log = open_redis(f"redis://127.0.0.1:{port}/0")
        log.append([entry("a")])
        with pytest.raises(ChangeLogError, match="none of these changes is kept"):
            for number in range(100):
                log.append([entry("x" * 200_000 + str(number))])
        last = log.bounds()[1]
        assert len(log.read(0)) == last


def test_the_password_is_never_shown(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "s3cret-right") as (port, _):
        right = open_redis(f"redis://:s3cret-right@127.0.0.1:{port}/0")
        assert right.append([entry("a")])[0].revision == 1
        wrong = open_redis(f"redis://user:s3cret-wrong@127.0.0.1:{port}/0")
        for call in (lambda: wrong.append([entry("a")]), lambda: wrong.read(0), lambda: wrong.bounds()):
            with pytest.raises(ChangeLogError) as refused:
                call()
            assert "s3cret" not in str(refused.value) and f"127.0.0.1:{port}" in str(refused.value)
    for url in ("redis://user:s3cret@host:port:x/0", "redis://:s3cret@[::1/0"):
        with pytest.raises(ChangeLogError, match="is not one of Redis: use redis://host:port/0") as refused:
            open_redis(url)
        assert "s3cret" not in str(refused.value)


def test_other_settings_are_refused() -> None:
    with pytest.raises(ChangeLogError, match="has to be empty, for files beside the releases, or begin with redis://"):
        open_redis("kafka://host")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from core.errors import MissingPackageError

    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "catalog.change_log.redis", raising=False)
    with pytest.raises(MissingPackageError, match=r"tandem-retrieval\[redis\]"):
        open_redis("redis://127.0.0.1/0")


@pytest.mark.parametrize(
    ("confirmed", "error"), [([1, 0], ""), ([0, 0], "not confirmed"), (ResponseError("no AOF"), "not confirmed")]
)
def test_a_server_that_can_confirm_writes_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confirmed: object, error: str
) -> None:
    """WAITAOF came with 7.2: where the server is older, its answer is made up and all else is real."""
    execute = Pipeline.execute
    asked: list[object] = []

    def with_waitaof(pipeline: Pipeline, raise_on_error: bool = True) -> list[object]:
        *rest, last = pipeline.command_stack
        assert last[0][:3] == ("WAITAOF", 1, 0) and len(rest) == 1
        asked.append(last)
        pipeline.command_stack = rest
        return [*execute(pipeline, raise_on_error), confirmed]

    with redis_server(tmp_path, "--appendfsync", "everysec") as (port, _):
        log = open_redis(f"redis://127.0.0.1:{port}/0")
        monkeypatch.setattr("catalog.change_log.redis._version", lambda _: (7, 2))
        monkeypatch.setattr(Pipeline, "execute", with_waitaof)
        if error:
            with pytest.raises(ChangeLogError, match=f"{error} them; it is unknown whether these changes are kept"):
                log.append([entry("a")])
        else:
            assert log.append([entry("a")])[0].revision == 1
        assert asked and ids(log) == ["a"]  # sent again, and in the log once


@pytest.mark.parametrize(("text", "expected"), [("7.2.4", (7, 2)), ("7.0.15", (7, 0)), ("8.0", (8, 0)), ("", ())])
def test_versions_of_servers_are_compared_by_number(text: str, expected: tuple[int, ...]) -> None:
    from catalog.change_log.redis import _version

    assert _version({"redis_version": text}) == expected
