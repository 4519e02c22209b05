"""An address that other machines reach needs TLS and a way to tell who calls, or an explicit word."""

from pathlib import Path
from typing import Any

import pytest

from core.address import is_local
from core.errors import TandemError
from retrieval.server.exposure import check_exposure
from retrieval.server.settings import ServeSettings

TLS = {"tls_certificate": "cert.pem", "tls_key": "key.pem"}
JWT = {"jwt_jwks": "https://issuer.example/keys", "jwt_issuer": "i", "jwt_audience": "a"}


def settings(folder: Path, **given: Any) -> ServeSettings:
    return ServeSettings(releases=folder, **given)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("localhost:1", True),
        ("LOCALHOST:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/x.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("127.0.0.1.example:1", False),
        ("[::ffff:10.0.0.1]:1", False),
        ("shop:1", False),
    ],
)
def test_loopback_addresses_are_local(tmp_path: Path, address: str, local: bool) -> None:
    assert is_local(address) == local
    if local:
        check_exposure(settings(tmp_path, address=address))
    else:
        with pytest.raises(TandemError, match="other machines"):
            check_exposure(settings(tmp_path, address=address))
        check_exposure(settings(tmp_path, address=address, insecure=True))


@pytest.mark.parametrize("who", [JWT, {"tls_client_ca": "ca.pem"}, {"keys": "keys.json"}, {}])
@pytest.mark.parametrize("tls", [TLS, {}])
def test_what_is_missing_is_named_in_one_line(
    tmp_path: Path, who: dict[str, str], tls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "tls_client_ca" in who and not tls:
        return
    monkeypatch.chdir(tmp_path)
    if who:
        (tmp_path / "keys.json").write_text("{}")
    folder = tmp_path / "releases"
    given = settings(folder, address="0.0.0.0:50051", **who, **tls)
    if who and tls:
        check_exposure(given)
        return
    with pytest.raises(TandemError) as error:
        check_exposure(given)
    assert ("tls_certificate" in str(error.value)) == (not tls)
    assert ("tandem keys add" in str(error.value)) == (not who)
    assert "--insecure" in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_keys_among_the_releases_is_enough(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    check_exposure(settings(tmp_path, address="0.0.0.0:50051", **TLS))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_certificate": "c"}, "belong together"),
        ({"tls_key": "k"}, "belong together"),
        ({"tls_client_ca": "c"}, "needs tls_certificate"),
        ({"jwt_jwks": "f"}, "set all"),
        ({**JWT, "jwt_audience": ""}, "set all"),
        ({**JWT, "jwt_jwks": "http://issuer.example/keys"}, "https"),
        ({**JWT, "jwt_jwks": "file:///etc/passwd"}, "https"),
        ({**JWT, "jwt_jwks": "ftp://issuer.example/keys"}, "https"),
        ({**JWT, "jwt_jwks": "https://"}, "https"),
        ({**JWT, "jwt_jwks": "https://[bad/keys"}, "https"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(tmp_path: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(TandemError, match=message):
        check_exposure(settings(tmp_path, **given))
    check_exposure(settings(tmp_path, **{**JWT, "jwt_jwks": "http://127.0.0.1:8000/keys"}))
