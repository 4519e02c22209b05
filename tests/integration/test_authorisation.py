"""The authorisation matrix: each RPC with each credential state and catalog, over real ports."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from credentials import AUDIENCE, ISSUER, Authority, Issuer, keys_in, shared_issuer
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from services import Service

from lifecycle.keys import Keys
from retrieval.server.identity.key_file import make_key, now
from tandem.v1 import catalog_pb2, recommend_pb2, search_pb2

_CODES = grpc.StatusCode
_SHOP, _WRITE = frozenset({"shop"}), frozenset({"write"})
Metadata = tuple[tuple[str, str], ...]


def _search(catalog: str) -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(query="red mug", catalog=catalog)


def _upsert(catalog: str) -> catalog_pb2.UpsertRequest:
    product = catalog_pb2.ProductUpsert(product_id="p1")
    product.row.update({"title": "red mug"})
    return catalog_pb2.UpsertRequest(catalog=catalog, products=[product])


def _delete(catalog: str) -> catalog_pb2.DeleteRequest:
    return catalog_pb2.DeleteRequest(catalog=catalog, products=[catalog_pb2.ProductDelete(product_id="p1")])


def _update(catalog: str) -> catalog_pb2.UpdateFieldsRequest:
    update = catalog_pb2.FieldsUpdate(product_id="p1")
    update.fields.update({"price": 3})
    return catalog_pb2.UpdateFieldsRequest(catalog=catalog, products=[update])


@dataclass(frozen=True)
class Rpc:
    """One method: the scope it needs, as its guide says, and how it is called."""

    path: str
    scope: str | None
    request: Any
    response: type[Message]
    streams: bool = False
    has_catalog: bool = True


_REFLECTION = (reflection_pb2.ServerReflectionRequest(list_services=""), reflection_pb2.ServerReflectionResponse)
RPCS = [
    Rpc("tandem.v1.SearchService/Search", "search", _search, search_pb2.SearchResponse),
    Rpc(
        "tandem.v1.SearchService/Suggest",
        "search",
        lambda catalog: search_pb2.SuggestRequest(prefix="re", catalog=catalog),
        search_pb2.SuggestResponse,
    ),
    Rpc(
        "tandem.v1.SearchService/BatchSearch",
        "search",
        lambda catalog: search_pb2.BatchSearchRequest(search=_search(catalog)),
        search_pb2.BatchSearchResponse,
        streams=True,
    ),
    Rpc(
        "tandem.v1.RecommendService/Recommend",
        "search",
        lambda catalog: recommend_pb2.RecommendRequest(catalog=catalog),
        recommend_pb2.RecommendResponse,
    ),
    Rpc(
        "tandem.v1.RecommendService/ForgetUser",
        "admin",
        lambda _: recommend_pb2.ForgetUserRequest(user_id="ann"),
        recommend_pb2.ForgetUserResponse,
        has_catalog=False,
    ),
    Rpc("tandem.v1.CatalogService/Upsert", "write", _upsert, catalog_pb2.UpsertResponse),
    Rpc("tandem.v1.CatalogService/Delete", "write", _delete, catalog_pb2.DeleteResponse),
    Rpc("tandem.v1.CatalogService/UpdateFields", "write", _update, catalog_pb2.UpdateFieldsResponse),
    Rpc(
        "tandem.v1.CatalogService/Change",
        "write",
        lambda catalog: catalog_pb2.ChangeRequest(upsert=_upsert(catalog)),
        catalog_pb2.ChangeResponse,
        streams=True,
    ),
    Rpc(
        "grpc.health.v1.Health/Check",
        None,
        lambda _: health_pb2.HealthCheckRequest(),
        health_pb2.HealthCheckResponse,
        has_catalog=False,
    ),
    Rpc(
        "grpc.health.v1.Health/Watch",
        None,
        lambda _: health_pb2.HealthCheckRequest(),
        health_pb2.HealthCheckResponse,
        streams=True,
        has_catalog=False,
    ),
    *(
        Rpc(
            f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            "",
            lambda _: _REFLECTION[0],
            _REFLECTION[1],
            streams=True,
            has_catalog=False,
        )
        for version in ("v1", "v1alpha")
    ),
]
CATALOGS = ["shop", "outlet", "ghost", ""]


@dataclass(frozen=True)
class Holder:
    """Who calls: what is sent, and what it may do. `valid` is False for a credential that identifies nobody."""

    name: str
    metadata: Metadata = ()
    valid: bool = True
    scopes: frozenset[str] = frozenset()
    catalogs: frozenset[str] | None = None
    files: tuple[bytes, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    code: grpc.StatusCode
    details: str


def kinds_of(rpc: Rpc) -> dict[str, Any]:
    return {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": rpc.response.FromString,
    }


async def call(channel: grpc.Channel, rpc: Rpc, catalog: str, metadata: Metadata) -> Outcome:
    """How the call ends; a stream's call by its first answer."""
    return await asyncio.to_thread(_call, channel, rpc, rpc.request(catalog), metadata)


def _call(channel: grpc.Channel, rpc: Rpc, request: Any, metadata: Metadata) -> Outcome:
    options: dict[str, Any] = {"metadata": metadata, "timeout": 20, "wait_for_ready": True}
    try:
        if not rpc.streams:
            channel.unary_unary(f"/{rpc.path}", **kinds_of(rpc))(request, **options)
            return Outcome(_CODES.OK, "")
        if rpc.path.endswith("Watch"):
            stream = channel.unary_stream(f"/{rpc.path}", **kinds_of(rpc))(request, **options)
        else:
            stream = channel.stream_stream(f"/{rpc.path}", **kinds_of(rpc))(iter([request]), **options)
        answer = next(stream)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return Outcome(error.code(), error.details() or "")
    stream.cancel()
    if hasattr(answer, "error") and answer.HasField("error"):
        return Outcome({code.value[0]: code for code in _CODES}[answer.error.code], answer.error.message)
    return Outcome(_CODES.OK, "")


def expected(rpc: Rpc, holder: Holder, catalog: str) -> set[grpc.StatusCode]:
    """The codes that the cell may have. What a double cannot do is FAILED_PRECONDITION: the call has come in."""
    came_in = {_CODES.OK, _CODES.FAILED_PRECONDITION}
    if rpc.scope is None:
        return came_in
    if not holder.valid:
        return {_CODES.UNAUTHENTICATED}
    if rpc.scope and rpc.scope not in holder.scopes:
        return {_CODES.PERMISSION_DENIED}
    if not rpc.has_catalog:
        restricted = rpc.scope == "admin" and holder.catalogs is not None
        return {_CODES.PERMISSION_DENIED} if restricted else came_in
    if not catalog:
        if holder.catalogs is None:
            return {_CODES.INVALID_ARGUMENT}
        return came_in if holder.catalogs == _SHOP else {_CODES.NOT_FOUND}  # of its own one, which is not served
    if holder.catalogs is not None and catalog not in holder.catalogs:
        return {_CODES.PERMISSION_DENIED}
    return {_CODES.NOT_FOUND} if catalog == "ghost" else came_in


async def check(channel: grpc.Channel, holder: Holder) -> int:
    """Calls everything, and returns how many cells there were."""
    cells = 0
    for rpc in RPCS:
        refused = set()
        for catalog in CATALOGS if rpc.has_catalog else [""]:
            outcome = await call(channel, rpc, catalog, holder.metadata)
            allowed = expected(rpc, holder, catalog)
            assert outcome.code in allowed, f"{holder.name}: {rpc.path} of {catalog!r}: {outcome}, not {allowed}"
            if outcome.code in (_CODES.PERMISSION_DENIED, _CODES.UNAUTHENTICATED):
                refused.add(outcome.details)
            if holder.catalogs is not None:
                assert "outlet" not in outcome.details, "it names a catalog of others"
            cells += 1
        assert len(refused) <= 1, f"{holder.name}: {rpc.path}: answers tell apart what is there: {refused}"
    return cells


def bearer(text: str) -> Metadata:
    return (("authorization", f"Bearer {text}"),)


def key_holders(keys: Keys) -> list[Holder]:
    """A key in each state, and the same restricted to a catalog."""
    every = frozenset({"search", "write", "events", "admin"})
    holders = [Holder("none", (), False), Holder("empty", bearer(""), False)]
    for scopes in (frozenset({scope}) for scope in sorted(every)):
        text, _ = keys.add("acme", scopes)
        holders.append(Holder(f"key of {sorted(scopes)}", bearer(text), True, scopes))
    whole, _ = keys.add("acme", every)
    holders.append(Holder("whole key", bearer(whole), True, every))
    holders.append(Holder("whole key by its own header", (("x-api-key", whole),), True, every))
    holders.append(Holder("whole key, bearer in capitals", (("authorization", f"BEARER {whole}"),), True, every))
    shop, _ = keys.add("acme", every, catalogs=_SHOP)
    holders.append(Holder("key of the shop", bearer(shop), True, every, _SHOP))
    nothing, _ = keys.add("acme", every, catalogs=frozenset({"other"}))
    holders.append(Holder("key of another catalog", bearer(nothing), True, every, frozenset({"other"})))
    narrow, _ = keys.add("narrow", every)
    keys.set_tenant("narrow", catalogs=_SHOP)
    holders.append(Holder("key of a tenant of the shop", bearer(narrow), True, every, _SHOP))
    revoked, entry = keys.add("acme", every)
    keys.revoke(entry.id)
    expired, _ = Keys(keys._path, keys._audit, lambda: now() - timedelta(days=9)).add(
        "acme", every, expires=now() - timedelta(days=1)
    )
    old, entry = keys.add("acme", every)
    new, _, _ = keys.rotate(entry.id, timedelta(days=1))
    holders += [
        Holder("old key while both are valid", bearer(old), True, every),
        Holder("new key while both are valid", bearer(new), True, every),
        Holder("unknown key", bearer(make_key()[0]), False),
        Holder("revoked key", bearer(revoked), False),
        Holder("expired key", bearer(expired), False),
        Holder("key cut off", bearer(whole[:-1]), False),
        Holder("key in lower case", bearer(whole.lower() + "x"), False),
        Holder("key as a password", (("authorization", f"Basic {whole}"),), False),
        Holder("key twice", (*bearer(whole), ("x-api-key", whole)), False),
        Holder("key beside another", (*bearer(whole), *bearer(revoked)), False),
    ]
    return holders


def token_holders(issuer: Issuer) -> list[Holder]:
    every = "search write events admin"
    claims: dict[str, Any] = {"tenant": "acme", "scope": every}
    past = int(time.time()) - 3600
    scopes = frozenset(every.split())
    wrong = Issuer(key_id=issuer.key_id)
    return [
        Holder("token", bearer(issuer.token(**claims)), True, scopes),
        Holder("token of a scope", bearer(issuer.token(tenant="acme", scope="write")), True, frozenset({"write"})),
        Holder("token without scopes", bearer(issuer.token(tenant="acme")), True),
        Holder("token of the shop", bearer(issuer.token(**claims, catalogs=["shop"])), True, scopes, _SHOP),
        Holder("token of a narrow tenant", bearer(issuer.token(tenant="narrow", scope=every)), True, scopes, _SHOP),
        Holder("expired token", bearer(issuer.token(**claims, exp=past)), False),
        Holder("token of another signer", bearer(wrong.token(**claims)), False),
        Holder("token for others", bearer(issuer.token(**claims, aud="others")), False),
    ]


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[str]:
    """A service of two catalogs with the keys of its folder."""
    service = Service(folder)
    service.publish("outlet")
    async with service.serve(reflection=True, **settings) as (_, server):
        yield server.address


async def test_each_rpc_with_each_key_token_and_catalog(tmp_path: Path) -> None:
    issuer = shared_issuer()
    (tmp_path / "jwks.json").write_bytes(issuer.jwks())
    holders = [*key_holders(keys_in(tmp_path / "releases")), *token_holders(issuer)]
    tokens = {"jwt_jwks": str(tmp_path / "jwks.json"), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    cells = 0
    async with serving(tmp_path, **tokens) as address:
        channel = grpc.insecure_channel(address)
        for holder in holders:
            cells += await check(channel, holder)
        unknown_tenant = bearer(issuer.token(tenant="other", scope="search"))
        outcome = await call(channel, RPCS[0], "shop", unknown_tenant)
        assert outcome.code is _CODES.PERMISSION_DENIED
    assert cells == len(holders) * (8 * len(CATALOGS) + 5) and len(holders) >= 30


async def test_each_rpc_with_each_certificate_and_catalog(tmp_path: Path) -> None:
    authority, keys = Authority(), keys_in(tmp_path / "releases")
    every = frozenset({"search", "write", "events", "admin"})
    for name, more in {"whole": {}, "reader": {"scopes": frozenset({"search"})}, "shop": {"catalogs": _SHOP}}.items():
        keys.add_certificate(f"{name}.example", "acme", **({"scopes": every} | more))
    revoked = keys.add_certificate("revoked.example", "acme", every)
    keys.revoke(revoked.id)
    writer, _ = keys.add("acme", _WRITE)
    holders = [
        Holder("whole", (), True, every, files=authority.issue("whole.example")),
        Holder("reader", (), True, frozenset({"search"}), files=authority.issue("reader.example")),
        Holder("of the shop", (), True, every, _SHOP, authority.issue("shop.example")),
        Holder("revoked", (), False, files=authority.issue("revoked.example")),
        Holder("unknown", (), False, files=authority.issue("unknown.example")),
        Holder("a key goes first", bearer(writer), True, _WRITE, files=authority.issue("reader.example")),
        Holder("a wrong key is wrong", bearer("tdm_"), False, files=authority.issue("whole.example")),
    ]
    settings = _tls_files(tmp_path, authority)
    async with serving(tmp_path, **settings) as address:
        for holder in holders:
            assert holder.files is not None
            credentials = grpc.ssl_channel_credentials(authority.pem, holder.files[1], holder.files[0])
            with grpc.secure_channel(address, credentials) as channel:
                await check(channel, holder)
        stranger = Authority("another ca").issue("whole.example")
        for files in (None, stranger):
            certificate = (files[1], files[0]) if files else (None, None)
            credentials = grpc.ssl_channel_credentials(authority.pem, *certificate)
            with grpc.secure_channel(address, credentials) as channel:
                with pytest.raises(grpc.RpcError) as error:
                    await asyncio.to_thread(channel.unary_unary(f"/{RPCS[0].path}"), b"", timeout=3)
                assert error.value.code() is _CODES.UNAVAILABLE, "no connection without a certificate of the CA"


async def test_without_a_file_of_keys_every_holder_of_a_certificate_may_call(tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue("anybody.example")
    async with serving(tmp_path, **_tls_files(tmp_path, authority)) as address:
        credentials = grpc.ssl_channel_credentials(authority.pem, key, chain)
        with grpc.secure_channel(address, credentials) as channel:
            every = frozenset({"search", "write", "events", "admin"})
            await check(channel, Holder("anybody", (), True, every))


async def test_without_keys_everybody_may_call_until_there_are_some(tmp_path: Path) -> None:
    async with serving(tmp_path) as address:
        channel = grpc.insecure_channel(address)
        await check(channel, Holder("anybody", (), True, frozenset({"search", "write", "events", "admin"})))
        keys_in(tmp_path / "releases").add("acme", frozenset({"search"}))
        until = time.monotonic() + 20
        while (await call(channel, RPCS[0], "shop", ())).code is not _CODES.UNAUTHENTICATED:
            assert time.monotonic() < until, "keys that were made are not in force"


async def test_a_key_of_search_alone_adds_to_no_profile(tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "releases")
    reader, _ = keys.add("acme", frozenset({"search"}))
    both, _ = keys.add("acme", frozenset({"search", "events"}))
    user = search_pb2.UserContext(user_id="ann", remember=True, products=[search_pb2.UserProduct(product_id="p1")])
    search = Rpc(
        RPCS[0].path, "", lambda _: search_pb2.SearchRequest(query="mug", catalog="shop", user=user), RPCS[0].response
    )
    async with serving(tmp_path) as address:
        channel = grpc.insecure_channel(address)
        refused = await call(channel, search, "", bearer(reader))
        assert refused.code is _CODES.PERMISSION_DENIED and "events" in refused.details
        assert (await call(channel, search, "", bearer(both))).code is _CODES.OK


async def test_a_stream_is_checked_message_by_message(tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "releases")
    text, _ = keys.add("acme", frozenset({"search", "write"}), catalogs=_SHOP)
    names = ["shop", "outlet", "shop", "ghost", "shop"]
    async with serving(tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        for rpc in (rpc for rpc in RPCS if rpc.streams and rpc.has_catalog):
            method = channel.stream_stream(
                f"/{rpc.path}", lambda message: message.SerializeToString(), rpc.response.FromString
            )
            stream = method(iter([rpc.request(name) for name in names]), metadata=bearer(text), timeout=20)
            codes = [answer.error.code async for answer in stream]
            denied = _CODES.PERMISSION_DENIED.value[0]
            assert [code == denied for code in codes] == [False, True, False, True, False], rpc.path


async def test_a_tenant_that_calls_too_much_is_refused_and_another_is_not(tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "releases")
    loud, _ = keys.add("loud", frozenset({"search"}))
    quiet, _ = keys.add("quiet", frozenset({"search"}))
    spent, _ = keys.add("spent", frozenset({"search"}))
    keys.set_tenant("loud", calls_per_second=0.5, burst=3)
    keys.set_tenant("spent", calls_per_day=1)
    async with serving(tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        for _ in range(3):
            await _raw(channel, loud)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            for _ in range(9):
                await _raw(channel, loud)
        assert error.value.code() is _CODES.RESOURCE_EXHAUSTED
        trailing = dict(error.value.trailing_metadata())
        assert 0 < int(trailing["grpc-retry-pushback-ms"]) <= 2000
        assert b"google.rpc.RetryInfo" in trailing["grpc-status-details-bin"]
        await _raw(channel, spent)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await _raw(channel, spent)
        assert dict(error.value.trailing_metadata())["grpc-retry-pushback-ms"] == "-1", "the day is not waited for"
        assert await _raw(channel, quiet)


async def _raw(channel: grpc.aio.Channel, key: str) -> bytes:
    method = channel.unary_unary(f"/{RPCS[0].path}")
    answer: bytes = await method(_search("shop").SerializeToString(), metadata=bearer(key), timeout=20)
    return answer


def _tls_files(folder: Path, authority: Authority) -> dict[str, Path]:
    """Settings of a service whose clients need certificates."""
    chain, key = authority.issue("localhost")
    files = {"tls_certificate": chain, "tls_key": key, "tls_client_ca": authority.pem}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {"address": "localhost:0", **{name: folder / name for name in files}}  # type: ignore[dict-item]
