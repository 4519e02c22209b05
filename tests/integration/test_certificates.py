"""Certificates that change while the service is called, by clients with the standard retry policy."""

import asyncio
import ssl
import time
from datetime import timedelta
from operator import gt
from pathlib import Path

import grpc
import pytest
from credentials import Authority, keys_in
from services import Service
from torture import amount

from retrieval.server.identity import tls
from retrieval.server.main import RunningServer
from tandem.client import AsyncSearchClient, SearchClient, SearchError, SearchRequest, tls_credentials

_REQUEST = SearchRequest(query="red mug")
_SCOPES = frozenset({"search"})


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0.02)


def put(folder: Path, name: str, pair: tuple[bytes, bytes]) -> None:
    """A certificate and its key, one after the other."""
    for suffix, data in zip((".pem", ".key"), pair, strict=True):
        scratch = folder / f"{name}{suffix}.new"
        scratch.write_bytes(data)
        scratch.rename(folder / f"{name}{suffix}")


def settings(folder: Path, client_ca: bool = False) -> dict[str, object]:
    files = {"tls_certificate": folder / "server.pem", "tls_key": folder / "server.key"}
    return {"address": "localhost:0", **files, **({"tls_client_ca": folder / "ca.pem"} if client_ca else {})}


async def presented(server: RunningServer) -> bytes:
    """The certificate that a new connection gets."""
    host, _, port = server.address.rpartition(":")
    pem = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=10)
    return ssl.PEM_cert_to_DER_cert(pem)


@pytest.mark.torture
async def test_no_call_fails_while_certificates_change_under_load(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    put(tmp_path, "server", authority.issue("localhost"))
    rotations = amount(4, 50)
    stop = asyncio.Event()
    calls = [0, 0, 0, 0]
    async with Service(tmp_path).serve(max_connection_age=1, **settings(tmp_path)) as (_, server):

        async def ask(caller: int, each: int) -> None:
            """Calls, a new client for every so many."""
            while not stop.is_set():
                async with AsyncSearchClient(server.address, 20, tls_credentials(tmp_path / "ca.pem")) as client:
                    for _ in range(each):
                        if stop.is_set():
                            break
                        assert (await client.search(_REQUEST)).hits
                        calls[caller] += 1

        # Two with clients that last: the service ends their connections once a second.
        callers = [asyncio.create_task(ask(number, each)) for number, each in enumerate((1, 5, 10**9, 10**9))]
        for number in range(rotations):
            pair = authority.issue("localhost", lasts=timedelta(hours=2 + number))
            put(tmp_path, "server", pair)
            expected = ssl.PEM_cert_to_DER_cert(pair[0].decode())
            before = list(calls)
            async with asyncio.timeout(60):
                while await presented(server) != expected or not all(map(gt, calls, before)):
                    for caller in callers:
                        assert not caller.done(), caller.exception()
            assert server.tls is not None and server.tls.expires > time.time() + 3600 * (1 + number)
        stop.set()
        await asyncio.gather(*callers)


async def test_a_ca_of_clients_changes_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority("old"), Authority("new")
    put(tmp_path, "server", old.issue("localhost"))
    (tmp_path / "ca.pem").write_bytes(old.pem)
    (tmp_path / "roots.pem").write_bytes(old.pem)
    put(tmp_path, "first", old.issue("gateway.example"))
    put(tmp_path, "second", new.issue("gateway.example"))
    keys_in(tmp_path / "releases").add_certificate("gateway.example", "acme", _SCOPES)

    def client(name: str) -> AsyncSearchClient:
        files = (tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        return AsyncSearchClient(server.address, 2, tls_credentials(tmp_path / "roots.pem", *files))

    async with Service(tmp_path).serve(**settings(tmp_path, client_ca=True)) as (_, server):  # noqa: SIM117
        async with client("first") as standing:
            assert (await standing.search(_REQUEST)).hits
            async with client("second") as stranger:
                with pytest.raises(SearchError, match="certificate of the client"):
                    await stranger.search(_REQUEST, timeout=1)
            (tmp_path / "ca.pem").write_bytes(old.pem + new.pem)
            async with asyncio.timeout(30):
                while True:
                    async with client("second") as known:
                        try:
                            assert (await known.search(_REQUEST)).hits
                            break
                        except SearchError as error:
                            assert error.code is grpc.StatusCode.UNAVAILABLE
            assert (await standing.search(_REQUEST)).hits, "connections that stand go on"


async def test_a_client_shows_the_certificate_that_it_was_made_with(tmp_path: Path) -> None:
    """gRPC's clients read their certificate once: one that is to change needs a new client."""
    authority = Authority()
    put(tmp_path, "server", authority.issue("localhost"))
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    put(tmp_path, "client", authority.issue("first.example"))
    keys_in(tmp_path / "releases").add_certificate("first.example", "acme", _SCOPES)
    credentials = tls_credentials(tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key")
    put(tmp_path, "client", authority.issue("second.example"))
    changed = tls_credentials(tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key")
    async with Service(tmp_path).serve(**settings(tmp_path, client_ca=True)) as (_, server):
        for _ in range(2):  # connections of their own
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with AsyncSearchClient(server.address, 20, credentials, options) as client:
                assert (await client.search(_REQUEST)).hits
        async with AsyncSearchClient(server.address, 20, changed) as client:
            with pytest.raises(SearchError, match="UNAUTHENTICATED"):
                await client.search(_REQUEST)


async def test_clients_bring_a_key_that_may_change(tmp_path: Path) -> None:
    authority, keys = Authority(), keys_in(tmp_path / "releases")
    put(tmp_path, "server", authority.issue("localhost"))
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    current, entry = keys.add("acme", _SCOPES)
    async with Service(tmp_path).serve(**settings(tmp_path)) as (_, server):
        channel = tls_credentials(tmp_path / "ca.pem")
        async with AsyncSearchClient(server.address, 20, channel, token=lambda: current) as client:
            assert (await client.search(_REQUEST)).hits
            assert [answer.response.release_id async for answer in client.search_many([_REQUEST])] != [""]
            new, _, _ = keys.rotate(entry.id, timedelta(days=1))
            current = "tdm_wrong"
            with pytest.raises(SearchError, match="UNAUTHENTICATED: this credential is not valid"):
                await client.search(_REQUEST)
            current = new
            async with asyncio.timeout(30):  # until the service has looked at the file
                while True:
                    try:
                        assert (await client.search(_REQUEST)).hits
                        break
                    except SearchError as error:
                        assert error.code is grpc.StatusCode.UNAUTHENTICATED

        def threads() -> None:
            with SearchClient(server.address, 20, channel, token=new) as client:
                assert client.search(_REQUEST).hits
                assert next(client.search_many([_REQUEST])).response.hits

        await asyncio.to_thread(threads)
