"""Who a call is by, where it may bring a token and comes over a connection with a certificate."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from credentials import AUDIENCE, ISSUER, shared_issuer

from core.audit import AuditLog
from lifecycle.keys import Keys
from retrieval.server.caller import ANYONE
from retrieval.server.gate import Refused
from retrieval.server.identity.identity_gate import IdentityGate
from retrieval.server.identity.key_sets import KeySets
from retrieval.server.identity.key_store import KeyStore
from retrieval.server.identity.tokens import Tokens

SEARCH, FORGET = "/tandem.v1.SearchService/Search", "/tandem.v1.RecommendService/ForgetUser"
CONNECTION: Any = SimpleNamespace(peer_identities=lambda: [b"gateway"])


class Times:
    """Seconds since 1970, which a test moves; and another clock, by which the file of keys is looked at each time."""

    def __init__(self) -> None:
        self.now, self._looks = time.time(), 0

    def __call__(self) -> float:
        return self.now

    def look(self) -> float:
        self._looks += 2
        return float(self._looks)


def test_where_tokens_say_who_may_do_what_a_certificate_alone_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_bytes(shared_issuer().jwks())
    key_sets = KeySets(str(tmp_path / "jwks.json"))
    try:
        none = KeyStore(tmp_path / "keys.json", required=False)
        gate = IdentityGate(none, Tokens(key_sets, ISSUER, AUDIENCE), certificates=True)
        token = (("authorization", f"Bearer {shared_issuer().token(scope='search')}"),)
        assert gate.identify(gate.enter(SEARCH, token), SEARCH, CONNECTION).scopes == {"search"}
        for method in (SEARCH, FORGET):
            with pytest.raises(Refused) as refused:
                gate.identify(gate.enter(method, ()), method, CONNECTION)
            assert cast(Refused, refused.value).code is grpc.StatusCode.UNAUTHENTICATED
    finally:
        key_sets.close()


def test_where_certificates_alone_say_who_calls_those_of_the_ca_may_do_all(tmp_path: Path) -> None:
    gate = IdentityGate(KeyStore(tmp_path / "keys.json", required=False), certificates=True)
    caller = gate.identify(gate.enter(FORGET, ()), FORGET, CONNECTION)
    assert caller.name == "gateway" and caller.scopes is None


def test_requests_of_a_stream_count_like_calls_and_wait_where_that_helps(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json", AuditLog(tmp_path / "audit.jsonl"))
    for tenant, limits in (("paced", {"calls_per_second": 4.0, "burst": 2}), ("daily", {"calls_per_day": 2})):
        text, _ = keys.add(tenant, frozenset({"search"}))
        keys.set_tenant(tenant, **limits)
        gate = IdentityGate(KeyStore(tmp_path / "keys.json", required=False))
        caller = gate.enter(SEARCH, (("x-api-key", text),))
        assert gate.count(caller) == 0.0
        if tenant == "paced":
            assert 0 < gate.count(caller) <= 0.25
        else:
            with pytest.raises(Refused) as refused:
                gate.count(caller)
            assert cast(Refused, refused.value).reason == "quota"
    assert IdentityGate(KeyStore(tmp_path / "none.json", required=False)).count(ANYONE) == 0.0


@pytest.mark.parametrize("change", ["revoke", "rotate", "narrow", "expire"])
def test_a_stream_ends_with_the_rights_that_it_began_with(tmp_path: Path, change: str) -> None:
    keys, times = Keys(tmp_path / "keys.json", AuditLog(tmp_path / "audit.jsonl")), Times()
    text, entry = keys.add("acme", frozenset({"search"}), expires=datetime.now(UTC) + timedelta(days=1))
    other, _ = keys.add("acme", frozenset({"search"}))
    gate = IdentityGate(KeyStore(tmp_path / "keys.json", required=False, clock=times.look), clock=times)
    caller, stays = (gate.enter(SEARCH, (("x-api-key", key),)) for key in (text, other))
    assert gate.count(caller) == gate.count(stays) == 0.0
    if change == "revoke":
        keys.revoke(entry.id)
    elif change == "rotate":
        keys.rotate(entry.id, timedelta(hours=1))
        assert gate.count(caller) == 0.0
        times.now += 3700
    elif change == "narrow":
        keys.set_tenant("acme", catalogs=frozenset({"shop"}))
    else:
        times.now += 90_000
    with pytest.raises(Refused) as refused:
        gate.count(caller)
    assert cast(Refused, refused.value).code is grpc.StatusCode.UNAUTHENTICATED
    if change != "narrow":
        assert gate.count(stays) == 0.0


@pytest.mark.parametrize("change", ["expire", "narrow"])
def test_a_stream_ends_when_its_token_expires_or_its_tenant_may_less(tmp_path: Path, change: str) -> None:
    (tmp_path / "jwks.json").write_bytes(shared_issuer().jwks())
    key_sets, times = KeySets(str(tmp_path / "jwks.json")), Times()
    keys = Keys(tmp_path / "keys.json", AuditLog(tmp_path / "audit.jsonl"))
    keys.set_tenant("acme", catalogs=frozenset({"shop", "outlet"}))
    try:
        listed = KeyStore(tmp_path / "keys.json", required=True, clock=times.look)
        gate = IdentityGate(listed, Tokens(key_sets, ISSUER, AUDIENCE), clock=times)
        token = shared_issuer().token(scope="search", tenant="acme")
        caller = gate.enter(SEARCH, (("authorization", f"Bearer {token}"),))
        assert gate.count(caller) == gate.count(ANYONE) == 0.0
        if change == "expire":
            times.now += 86_400
        else:
            keys.set_tenant("acme", catalogs=frozenset({"shop"}))
        with pytest.raises(Refused):
            gate.count(caller)
    finally:
        key_sets.close()
