"""Tokens (JWT): verified once by the issuer's public keys, and then known by their digest until they expire."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import jwt

from retrieval.server.caller import Caller
from retrieval.server.identity.access import SCOPES
from retrieval.server.identity.key_sets import KeySet, KeySets, NoPublicKeys
from retrieval.server.identity.key_store import unexpired
from retrieval.server.identity.limits import TooManyWrong

_MOST_CHARACTERS = 8192
_MOST_KNOWN, _MOST_BAD = 10_000, 10_000
_BAD_SECONDS = 10.0  # one that is not valid yet may be then
_MOST_CATALOGS = 1_000
# Of tokens that nobody saw before, so many may be wrong at once and each second: verifying one takes 0.2 ms of the
# thread that takes all calls.
_MOST_WRONG, _WRONG_A_SECOND = 100.0, 100.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:|-]{0,127}")


class Tokens:
    """Who calls, by a token. For one thread."""

    def __init__(
        self,
        key_sets: KeySets,
        issuer: str,
        audience: str,
        skew: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tokens of this issuer, for this audience; their times may be `skew` seconds off."""
        self._key_sets = key_sets
        self._issuer, self._audience, self._skew = issuer, audience, skew
        self._clock = clock
        self._keys: KeySet = {}
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._bad: OrderedDict[bytes, float] = OrderedDict()
        self._wrong, self._since = _MOST_WRONG, clock()
        self.verified = 0
        """Signatures that were verified, or found wrong."""

    def caller(self, text: str, now: float) -> Caller | None:
        """Who has this token; None for nobody, at this time, in seconds since 1970.

        Raises NoPublicKeys, or TooManyWrong.
        """
        if len(text) > _MOST_CHARACTERS:
            return None
        digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
        if self._keys is not self._key_sets.keys:
            self._keys = self._key_sets.keys
            self._known.clear()  # by keys that may be gone
            self._bad.clear()
        known = self._known.get(digest)
        if known is not None:
            return unexpired(known, now)
        tick = self._clock()
        if self._bad.get(digest, 0.0) > tick:
            return None
        if not self._keys:
            raise NoPublicKeys
        self._allow(tick)
        known = self._verify(text)
        if known is None:
            self._wrong -= 1
            _keep(self._bad, digest, tick + _BAD_SECONDS, _MOST_BAD)
            return None
        _keep(self._known, digest, known, _MOST_KNOWN)
        return known

    def _allow(self, tick: float) -> None:
        """Raises TooManyWrong where nothing is left of what wrong tokens may cost."""
        self._wrong = min(_MOST_WRONG, self._wrong + _WRONG_A_SECOND * (tick - self._since))
        self._since = tick
        if self._wrong < 1:
            raise TooManyWrong(1.0)

    def _verify(self, text: str) -> Caller | None:
        try:
            key = self._key_of(jwt.get_unverified_header(text))
            if key is None:
                return None
            self.verified += 1
            claims = jwt.decode(
                text,
                key,
                algorithms=[key.algorithm_name],  # the key's own, whatever the token says
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._skew,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            return _read(claims, self._skew)
        except Exception:  # what anybody sends is never a fault of this service
            return None

    def _key_of(self, header: Mapping[str, Any]) -> Any:
        """The key that a token names; one that is not there may have been made since the keys were read."""
        name = header.get("kid", "")
        if not isinstance(name, str) or "crit" in header:
            return None
        if not name and len(self._keys) == 1:
            [key] = self._keys.values()
        elif (key := self._keys.get(name)) is None:
            self._key_sets.ask()
            return None
        return key if header.get("alg") == key.algorithm_name else None


def _read(claims: Mapping[str, Any], skew: float) -> Caller:
    """The caller of a verified token. Raises ValueError for claims that are not as they should be."""
    subject, tenant = claims["sub"], claims.get("tenant", claims["sub"])
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in (subject, tenant)):
        raise ValueError("sub and tenant are names")
    scopes = claims.get("scope", claims.get("scp", ()))
    words = scopes.split() if isinstance(scopes, str) else scopes
    catalogs = claims.get("catalogs")
    for names in (words, () if catalogs is None else catalogs):
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError("scope and catalogs are lists of texts")
    if catalogs is not None and len(catalogs) > _MOST_CATALOGS:
        raise ValueError("too many catalogs")
    allowed = None if catalogs is None else frozenset(catalogs)
    until = float(claims["exp"]) + skew
    return Caller(f"{tenant}/{subject}", tenant, SCOPES & set(words), allowed, until=until)


def _keep(kept: OrderedDict[bytes, Any], key: bytes, value: Any, most: int) -> None:
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)
