"""Public keys of an issuer, from a file and over HTTP: which are used, and how often they are fetched."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from credentials import Issuer, shared_issuer

from retrieval.server.identity import key_sets
from retrieval.server.identity.key_sets import KeySetError, KeySets, parse_key_set


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come about")


class Site:
    """A web server with one page, which counts its visits."""

    def __init__(self) -> None:
        self.body, self.status, self.visits, self.location = b"", 200, 0, ""

    @contextmanager
    def open(self) -> Iterator[str]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.visits += 1
                self.send_response(site.status)
                if site.location:
                    self.send_header("Location", site.location)
                self.send_header("Content-Length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *_: Any) -> None:
                """Prints nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/jwks.json"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture
def site() -> Site:
    return Site()


def test_keys_for_signatures_are_used_and_no_others() -> None:
    good, other = shared_issuer(), shared_issuer("RS256", "rsa")
    content = json.loads(good.jwks(other))
    content["keys"] += [
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"},
        good.jwk | {"kid": "encrypts", "use": "enc"},
        good.jwk | {"kid": "private", "d": "AAAA"},
        good.jwk | {"kid": 7},
        other.jwk | {"kid": "hmac", "alg": "HS256"},
        Issuer("RS256", "weak", bits=1024).jwk,
        {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "unknown", "crv": "P-1", "x": "AA", "y": "AA"},
        {"kty": "RSA", "kid": "no-number"},
        "key",
        None,
    ]
    keys = parse_key_set(json.dumps(content).encode(), "the test")
    assert {name: key.algorithm_name for name, key in keys.items()} == {"one": "ES256", "rsa": "RS256"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"keys": []}',
        b'{"keys": {}}',
        b'{"keys": 1}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"keys": ' + b"1" * 10_000 + b"}",
        json.dumps({"keys": [{"kty": "EC"}] * 101}).encode(),
    ],
    ids=range(12),
)
def test_what_is_no_set_of_keys_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(KeySetError, match="the test") as error:
        parse_key_set(data, "the test")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_two_keys_of_an_id_are_refused() -> None:
    with pytest.raises(KeySetError, match="two keys"):
        parse_key_set(shared_issuer().jwks(Issuer()), "the test")


def test_a_file_is_read_again_and_a_damaged_one_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_sets, "_FILE_SECONDS", 0.01)
    path = tmp_path / "jwks.json"
    path.write_bytes(shared_issuer().jwks())
    sets = KeySets(str(path))
    try:
        before = sets.keys
        with caplog.at_level(logging.ERROR, "tandem.identity"):
            path.write_bytes(b"{}")
            until(lambda: bool(caplog.records))
            path.unlink()
            until(lambda: len(caplog.records) == 2)
        assert sets.keys is before
        path.write_bytes(shared_issuer().jwks(shared_issuer(key_id="two")))
        until(lambda: sorted(sets.keys) == ["one", "two"])
    finally:
        sets.close()
    with pytest.raises(KeySetError, match=r"other\.json"):
        KeySets(str(tmp_path / "other.json"))


def test_asking_fetches_in_the_background_and_not_more_often_than_allowed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.body = shared_issuer().jwks()
    pauses: list[float] = []
    with site.open() as url:
        sets = KeySets(url, clock=lambda: 0.0)
        try:
            wait = sets._closing.wait
            monkeypatch.setattr(sets._closing, "wait", lambda pause: pauses.append(pause) or wait(0.01))
            assert site.visits == 1
            site.body = shared_issuer().jwks(shared_issuer(key_id="two"))
            for _ in range(1000):
                sets.ask()
            until(lambda: "two" in sets.keys)
            assert site.visits <= 1 + len(pauses) and set(pauses) == {10.0}, "each fetch waits its time"
        finally:
            sets.close()


@pytest.mark.parametrize("fault", ["status", "body", "size", "redirect"])
def test_a_site_that_fails_keeps_the_last_good_keys(
    site: Site, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_sets, "_URL_SECONDS", 0.01)
    site.body = shared_issuer().jwks()
    with site.open() as url, caplog.at_level(logging.ERROR, "tandem.identity"):
        sets = KeySets(url)
        try:
            before = sets.keys
            match fault:
                case "status":
                    site.status = 500
                case "body":
                    site.body = b"<html>"
                case "size":
                    site.body = b" " * ((1 << 20) + 1)
                case "redirect":
                    site.status, site.location = 302, url + "?elsewhere"
            visits = site.visits
            until(lambda: site.visits >= visits + 3)
            assert sets.keys is before and len(caplog.records) == 1
        finally:
            sets.close()


def test_a_site_that_does_not_answer_yet_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "_LEAST_PAUSE", 0.01)
    site.status, site.body = 503, shared_issuer().jwks()
    with site.open() as url:
        sets = KeySets(url)
        try:
            assert not sets.keys
            site.status = 200
            until(lambda: bool(sets.keys))
        finally:
            sets.close()
