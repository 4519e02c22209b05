"""Tokens: those that are right are let in, every known forgery is not, and none costs much."""

import hmac
import json
import time
from typing import Any

import jwt
import pytest
from credentials import AUDIENCE, ISSUER, Issuer, claims_of, public_pem, shared_issuer, unsigned

from retrieval.server.caller import Caller
from retrieval.server.identity.key_sets import ALGORITHMS, KeySets, NoPublicKeys, parse_key_set
from retrieval.server.identity.limits import TooManyWrong
from retrieval.server.identity.tokens import Tokens


class FixedKeys(KeySets):
    """Key sets without a thread; counts who asks for keys that are not there."""

    def __init__(self, *issuers: Issuer) -> None:
        self.asked = 0
        self.set(*issuers)

    def set(self, *issuers: Issuer) -> None:
        self.keys = parse_key_set(issuers[0].jwks(*issuers[1:]), "the test") if issuers else {}

    def ask(self) -> None:
        self.asked += 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    return shared_issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sets(issuer: Issuer) -> FixedKeys:
    return FixedKeys(issuer)


@pytest.fixture
def tokens(sets: FixedKeys, clock: Clock) -> Tokens:
    return Tokens(sets, ISSUER, AUDIENCE, 30, clock)


def test_a_token_is_a_caller_with_what_its_claims_allow(tokens: Tokens, issuer: Issuer) -> None:
    text = issuer.token(tenant="acme", scope="search write profile", catalogs=["shop", "outlet"])
    expected = Caller("acme/ann", "acme", frozenset({"search", "write"}), frozenset({"shop", "outlet"}))
    assert tokens.caller(text, time.time()) == expected
    bare = tokens.caller(issuer.token(scp=["search"]), time.time())
    assert bare == Caller("ann/ann", "ann", frozenset({"search"}), None)
    assert tokens.caller(issuer.token(), time.time()) == Caller("ann/ann", "ann", frozenset(), None)


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "EdDSA"])
def test_tokens_of_asymmetric_algorithms_are_verified(algorithm: str) -> None:
    own = shared_issuer(algorithm)
    tokens = Tokens(FixedKeys(own), ISSUER, AUDIENCE)
    assert tokens.caller(own.token(), time.time()) is not None
    tampered = own.token()
    tampered = tampered[:-8] + ("AAAAAAAA" if tampered[-8:] != "AAAAAAAA" else "BBBBBBBB")
    assert tokens.caller(tampered, time.time()) is None


def test_only_asymmetric_algorithms_are_accepted() -> None:
    assert not {name for name in ALGORITHMS if name.startswith("HS")} and "none" not in ALGORITHMS


def _by_another(issuer: Issuer) -> str:
    return Issuer(key_id=issuer.key_id).token()


def _with_the_public_key_as_secret(issuer: Issuer) -> str:
    """HS256 with what everybody knows for a secret."""
    body = unsigned({"alg": "HS256", "typ": "JWT", "kid": issuer.key_id}, claims_of())[:-1]
    digest = hmac.digest(public_pem(issuer.key), body.encode(), "sha256")
    return f"{body}.{jwt.utils.base64url_encode(digest).decode()}"


def _swapped_payload(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    body = jwt.utils.base64url_encode(json.dumps(claims_of(scope="admin")).encode()).decode()
    return f"{head}.{body}.{signature}"


def _deep(issuer: Issuer) -> str:
    nested: Any = "[" * 4000 + "]" * 4000
    part = jwt.utils.base64url_encode(nested.encode()).decode()
    head, _, signature = issuer.token().split(".")
    return f"{head}.{part[:8000]}.{signature}"


ATTACKS = {
    "no algorithm": lambda _: unsigned({"alg": "none"}, claims_of()),
    "no algorithm, in capitals": lambda _: unsigned({"alg": "NONE", "kid": "one"}, claims_of()),
    "no algorithm, a signature": lambda _: unsigned({"alg": "none", "kid": "one"}, claims_of(), b"x" * 64),
    "the public key as secret": _with_the_public_key_as_secret,
    "another signer of the same id": _by_another,
    "another payload": _swapped_payload,
    "another algorithm of the header": lambda _: unsigned({"alg": "RS256", "kid": "one"}, claims_of(), b"x" * 256),
    "a key in the token": lambda _: (evil := Issuer()).token({"jwk": evil.jwk}),
    "a key elsewhere": lambda _: Issuer(key_id="x").token({"jku": "https://evil.example/keys"}),
    "a path for an id": lambda issuer: issuer.token({"kid": "../../../../dev/null"}),
    "an address for an id": lambda issuer: issuer.token({"kid": "https://evil.example/one"}),
    "SQL for an id": lambda issuer: issuer.token({"kid": "one' OR '1'='1"}),
    "a number for an id": lambda issuer: unsigned({"alg": "ES256", "kid": 1}, claims_of(), b"x" * 64),
    "a list for an id": lambda issuer: unsigned({"alg": "ES256", "kid": ["one"]}, claims_of(), b"x" * 64),
    "what must be understood": lambda issuer: issuer.token({"crit": ["exp"], "exp": 1}),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 40),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 60),
    "issued in the future": lambda issuer: issuer.token(iat=int(time.time()) + 60),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example"),
    "an issuer that begins alike": lambda issuer: issuer.token(iss=ISSUER + ".evil.example"),
    "another audience": lambda issuer: issuer.token(aud="other"),
    "other audiences": lambda issuer: issuer.token(aud=["other", "another"]),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "no audience": lambda issuer: issuer.token(aud=None),
    "no end": lambda issuer: issuer.token(exp=None),
    "an end that is no number": lambda issuer: issuer.token(exp="soon"),
    "an end that is no end": lambda issuer: unsigned({"alg": "ES256", "kid": "one"}, claims_of(exp=float("inf"))),
    "no subject": lambda issuer: issuer.token(sub=None),
    "an odd subject": lambda issuer: issuer.token(sub="ann\nroot"),
    "a tenant that is no name": lambda issuer: issuer.token(tenant={"acme": 1}),
    "a tenant with a slash": lambda issuer: issuer.token(tenant="acme/../other"),
    "scopes that are none": lambda issuer: issuer.token(scope={"admin": True}),
    "scopes that are numbers": lambda issuer: issuer.token(scope=[1, 2]),
    "catalogs that are none": lambda issuer: issuer.token(catalogs="shop"),
    "too many catalogs": lambda issuer: issuer.token(catalogs=["c"] * 1001),
    "cut off": lambda issuer: issuer.token()[:-20],
    "one part more": lambda issuer: issuer.token() + ".x",
    "empty": lambda _: "..",
    "no base64": lambda _: "§.§.§",
    "no JSON": lambda _: "YQ.YQ.YQ",
    "nested": _deep,
    "a surrogate": lambda _: "\udcff.a.b",
    "huge": lambda issuer: issuer.token(note="x" * 9000),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_forged_token_is_a_caller(tokens: Tokens, issuer: Issuer, attack: Any) -> None:
    text = attack(issuer)
    assert tokens.caller(text, time.time()) is None
    assert tokens.caller(text, time.time()) is None


@pytest.mark.parametrize("claims", [{"exp": -20}, {"nbf": 20}, {"iat": 20}])
def test_clocks_may_differ_by_the_skew(tokens: Tokens, issuer: Issuer, claims: dict[str, int]) -> None:
    moment = int(time.time())
    assert tokens.caller(issuer.token(**{name: moment + off for name, off in claims.items()}), time.time())


def test_a_token_is_verified_once_and_expires_all_the_same(tokens: Tokens, issuer: Issuer) -> None:
    text, moment = issuer.token(), time.time()
    for _ in range(5):
        assert tokens.caller(text, moment) is not None
    assert tokens.verified == 1
    assert tokens.caller(text, moment + 325) is not None and tokens.caller(text, moment + 331) is None


def test_a_wrong_token_is_verified_once_in_a_while(tokens: Tokens, issuer: Issuer, clock: Clock) -> None:
    text = issuer.token(aud="other")
    for _ in range(5):
        assert tokens.caller(text, time.time()) is None
    assert tokens.verified == 1
    clock.now = 11
    assert tokens.caller(text, time.time()) is None and tokens.verified == 2


def test_wrong_tokens_have_a_budget_and_known_ones_go_on(tokens: Tokens, issuer: Issuer, clock: Clock) -> None:
    good, moment = issuer.token(), time.time()
    assert tokens.caller(good, moment) is not None

    def wrong(number: int) -> str:
        return unsigned({"alg": "ES256", "kid": "one"}, claims_of(sub=f"user-{number}"), b"x" * 64)

    assert not any(tokens.caller(wrong(number), moment) for number in range(100))
    with pytest.raises(TooManyWrong):
        tokens.caller(wrong(100), moment)
    assert tokens.verified == 101 and tokens.caller(good, moment) is not None
    with pytest.raises(TooManyWrong):
        tokens.caller(issuer.token(sub="bob"), moment)  # one that is new waits
    clock.now += 1
    assert tokens.caller(issuer.token(sub="bob"), moment) is not None


def test_right_tokens_have_no_budget(tokens: Tokens, issuer: Issuer) -> None:
    moment = time.time()
    assert all(tokens.caller(issuer.token(sub=f"user-{number}"), moment) for number in range(250))


def test_many_tokens_take_no_more_room(tokens: Tokens, issuer: Issuer, clock: Clock, monkeypatch: Any) -> None:
    monkeypatch.setattr("retrieval.server.identity.tokens._MOST_KNOWN", 8)
    monkeypatch.setattr("retrieval.server.identity.tokens._MOST_BAD", 8)
    moment = time.time()
    for number in range(20):
        assert tokens.caller(issuer.token(sub=f"user-{number}"), moment)
        assert tokens.caller(f"a.b.{number}", moment) is None
    assert len(tokens._known) == len(tokens._bad) == 8


def test_an_unknown_key_is_asked_for_and_not_waited_for(sets: FixedKeys, tokens: Tokens, issuer: Issuer) -> None:
    new = shared_issuer(key_id="two")
    text = new.token()
    assert tokens.caller(text, time.time()) is None and sets.asked == 1
    sets.set(issuer, new)
    assert tokens.caller(text, time.time()) is not None


def test_a_token_whose_key_is_gone_is_let_in_no_more(sets: FixedKeys, tokens: Tokens, issuer: Issuer) -> None:
    text = issuer.token()
    assert tokens.caller(text, time.time()) is not None
    sets.set(shared_issuer(key_id="two"))
    assert tokens.caller(text, time.time()) is None


def test_a_token_without_a_key_id_is_of_the_only_key(sets: FixedKeys, tokens: Tokens, issuer: Issuer) -> None:
    text = jwt.encode(claims_of(), issuer.key, "ES256")
    assert tokens.caller(text, time.time()) is not None
    sets.set(issuer, shared_issuer(key_id="two"))
    assert tokens.caller(text, time.time()) is None


def test_without_keys_nobody_is_told_that_a_token_is_wrong(issuer: Issuer) -> None:
    with pytest.raises(NoPublicKeys):
        Tokens(FixedKeys(), ISSUER, AUDIENCE).caller(issuer.token(), time.time())


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES257", ["ES256"], 5])
def test_a_key_of_an_algorithm_that_is_unknown_is_left_out(algorithm: Any) -> None:
    good, other = shared_issuer(), shared_issuer("RS256", "two").jwk | {"alg": algorithm}
    assert list(parse_key_set(json.dumps({"keys": [other, good.jwk]}).encode(), "f")) == [good.key_id]
