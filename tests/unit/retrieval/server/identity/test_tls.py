"""The service's certificate: read again when it changes, and only if it can be used."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from credentials import Authority, key_pem, shared_issuer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from retrieval.server.identity.tls import ServerTls, TlsError, TlsFiles


class Clock:
    """Moves by more than is waited between two looks, each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.01
        return self.now


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    put(tmp_path, *authority.issue("localhost"), authority.pem)
    return TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")


def put(folder: Path, chain: bytes | None = None, key: bytes | None = None, ca: bytes | None = None) -> None:
    for name, data in {"cert.pem": chain, "key.pem": key, "ca.pem": ca}.items():
        if data is not None:
            (folder / name).write_bytes(data)


def ends(chain: bytes) -> float:
    return x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()


def test_a_new_certificate_is_taken_up_and_given_to_grpc_once(
    authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    tls = ServerTls(files, Clock())
    assert tls._fetch() is None
    chain, key = authority.issue("localhost", lasts=timedelta(days=3))
    put(tmp_path, chain, key)
    assert tls.expires == ends(chain)
    assert tls._fetch() is not None and tls._fetch() is None


def test_a_certificate_without_its_key_waits_for_it(
    authority: Authority, files: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = ServerTls(files, Clock())
    before = tls.expires
    chain, key = authority.issue("localhost", lasts=timedelta(days=3))
    put(tmp_path, chain)
    with caplog.at_level(logging.ERROR, "tandem.identity"):
        assert [tls.expires for _ in range(3)] == [before] * 3
    assert len(caplog.records) == 1 and "is not the key of" in caplog.text
    put(tmp_path, key=key)
    assert tls.expires == ends(chain)


def test_files_are_looked_at_once_a_second(authority: Authority, files: TlsFiles, tmp_path: Path) -> None:
    now = 0.0
    tls = ServerTls(files, lambda: now)
    chain, key = authority.issue("localhost", lasts=timedelta(days=3))
    put(tmp_path, chain, key)
    assert tls.expires != ends(chain)
    now = 1.0
    assert tls.expires == ends(chain)


def test_links_that_are_swapped_are_followed(authority: Authority, tmp_path: Path) -> None:
    """As Kubernetes mounts secrets: `..data` leads to a folder, and each file to one in it."""
    for name, days in (("first", 1), ("second", 2)):
        (tmp_path / name).mkdir()
        put(tmp_path / name, *authority.issue("localhost", lasts=timedelta(days=days)))
    (tmp_path / "..data").symlink_to("first")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    tls = ServerTls(TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem"), Clock())
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").rename(tmp_path / "..data")
    assert tls.expires == ends((tmp_path / "second/cert.pem").read_bytes())


def test_the_first_certificate_of_the_chain_that_expires_counts(authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.issue("localhost", lasts=timedelta(days=30))
    put(tmp_path, chain + authority.pem, key)
    assert ServerTls(TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")).expires == ends(authority.pem)


def _encrypted(_: Authority) -> dict[str, bytes]:
    return {"key": key_pem(ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"secret"))}


FAULTS: dict[str, Any] = {
    "another key": lambda authority: {"key": authority.issue("localhost")[1]},
    "a key of another kind": lambda _: {"key": key_pem(shared_issuer("RS256").key)},
    "an encrypted key": _encrypted,
    "no key": lambda _: {"key": b"none"},
    "no certificate": lambda _: {"chain": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
    "an empty certificate": lambda _: {"chain": b""},
    "no CA": lambda _: {"ca": b"\xff\x00"},
    "an expired one": lambda authority: dict(
        zip(("chain", "key"), authority.issue("localhost", timedelta(hours=1), timedelta(hours=-2)), strict=True)
    ),
    "one of tomorrow": lambda authority: dict(
        zip(("chain", "key"), authority.issue("localhost", since=timedelta(days=1)), strict=True)
    ),
    "more than a certificate has": lambda _: {"chain": b"x" * (1 << 21)},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_files_that_cannot_be_used_are_refused_at_the_start_and_passed_over_later(
    authority: Authority, files: TlsFiles, tmp_path: Path, fault: Any
) -> None:
    tls = ServerTls(files, Clock())
    before = tls.expires
    put(tmp_path, **fault(authority))
    with pytest.raises(TlsError) as error:
        ServerTls(files)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    assert tls.expires == before and tls._fetch() is None


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem"])
def test_a_file_that_is_gone_is_named(files: TlsFiles, tmp_path: Path, name: str) -> None:
    tls = ServerTls(files, Clock())
    (tmp_path / name).unlink()
    with pytest.raises(TlsError, match=f"{name}.*No such file"):
        ServerTls(files)
    assert tls._fetch() is None
