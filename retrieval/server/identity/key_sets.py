"""The public keys of an issuer of tokens (JWKS), from a file or a URL, kept fresh by a thread of their own."""

import contextlib
import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from core.durable import read_file
from core.errors import MissingPackageError, ReleaseError, TandemError
from core.strings import quoted

log = logging.getLogger("tandem.identity")

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Asymmetric ones alone: who can verify cannot sign."""
_LEAST_RSA_BITS = 2048
_MOST_BYTES, _MOST_KEYS = 1 << 20, 100
_FILE_SECONDS, _URL_SECONDS = 1.0, 300.0
_LEAST_PAUSE = 10.0  # seconds between two fetches, however many tokens name keys that are not there
_FETCH_SECONDS = 5.0

KeySet = Mapping[str, Any]
"""Keys (`jwt.PyJWK`) by their id, the empty one for a key without."""


class NoPublicKeys(Exception):
    """No public key could be read yet."""


class KeySetError(TandemError):
    """A set of public keys cannot be used."""


def parse_key_set(data: bytes, place: str) -> KeySet:
    """The keys of a JWKS that can verify signatures; others are left out. Raises KeySetError where none is left."""
    jwt = _jwt()
    try:
        content = json.loads(data)
        entries = content["keys"]
        if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
            raise ValueError(f"`keys` is no list of at most {_MOST_KEYS}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeySetError(f"{place} is no set of public keys (JWKS): {str(error)[:200]}") from None
    keys: dict[str, Any] = {}
    for entry in entries:
        key = None
        with contextlib.suppress(Exception):  # the library raises errors of many kinds for what it does not know
            key = _usable(jwt, entry)
        if key is not None and keys.setdefault(key.key_id or "", key) is not key:
            raise KeySetError(f"{place} has two keys of the id {quoted(key.key_id or '')}")
    if not keys:
        raise KeySetError(f"{place} has no public key for signatures ({', '.join(sorted(ALGORITHMS))})")
    return keys


def _jwt() -> Any:
    try:
        import cryptography.hazmat  # noqa: F401
        import jwt
    except ModuleNotFoundError:
        raise MissingPackageError("verifying tokens", "identity") from None
    return jwt


def _usable(jwt: Any, entry: Any) -> Any:
    """The key, or None for one that is not for verifying signatures."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP") or "d" in entry:
        return None
    if entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid", ""), str):
        return None
    key = jwt.PyJWK(entry)
    weak = entry["kty"] == "RSA" and key.key.key_size < _LEAST_RSA_BITS
    return None if weak or key.algorithm_name not in ALGORITHMS else key


class KeySets:
    """The current keys. `keys` is another mapping whenever they changed."""

    def __init__(self, location: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`location` is a file or a URL. Raises KeySetError for a file that cannot be used; a URL that does not answer
        is tried again, and `keys` is empty meanwhile."""
        _jwt()
        self.keys: KeySet = {}
        self._location = location
        self._clock = clock
        self._url = "://" in location
        self._data = b""
        self._fault = ""
        self._fetched = clock()
        self._wake, self._closing = threading.Event(), threading.Event()
        try:
            self._read()
        except (OSError, KeySetError, HTTPException) as error:
            if not self._url:
                raise KeySetError(_reason(location, error)) from None
            self._note(error)
        self._thread = threading.Thread(target=self._follow, name="key-sets", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Has the keys read soon, since a token names one that is not there. Returns at once."""
        if self._url:
            self._wake.set()

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._wake.set()

    def _follow(self) -> None:
        while True:
            if self._wake.wait(self._pause) and self._url:
                self._closing.wait(max(0.0, self._fetched + _LEAST_PAUSE - self._clock()))
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                self._read()
                self._fault = ""
            except (OSError, KeySetError, HTTPException, ValueError) as error:
                self._note(error)

    @property
    def _pause(self) -> float:
        if not self._url:
            return _FILE_SECONDS
        return _URL_SECONDS if self.keys else _LEAST_PAUSE

    def _read(self) -> None:
        self._fetched = self._clock()
        data = fetch(self._location) if self._url else _read_plain(Path(self._location))
        if data != self._data:
            keys = parse_key_set(data, self._location)
            self.keys, self._data = keys, data
            log.info("%s: %d public keys", self._location, len(keys))

    def _note(self, error: Exception) -> None:
        """Logs once why the last good keys stay."""
        fault = _reason(self._location, error)
        if fault != self._fault:
            log.error("%s: %s", "the public keys read last stay" if self.keys else "no token can be verified", fault)
        self._fault = fault


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to where the setting does not."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch(url: str) -> bytes:
    """The body. Follows no redirect. Raises OSError, KeySetError."""
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(url, timeout=_FETCH_SECONDS) as response:
        data: bytes = response.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise KeySetError(f"{url} has more than {_MOST_BYTES:,} bytes")
    return data


def _read_plain(path: Path) -> bytes:
    try:
        return read_file(path.resolve(), _MOST_BYTES)
    except ReleaseError as error:
        raise KeySetError(str(error)) from None


def _reason(location: str, error: Exception) -> str:
    if isinstance(error, KeySetError):
        return str(error)
    why = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
    return f"{location}, the public keys of tokens, cannot be read: {str(why)[:200]}"
