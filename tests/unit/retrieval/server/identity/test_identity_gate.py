"""Who a call is by, where it may bring a token and comes over a connection with a certificate."""

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
