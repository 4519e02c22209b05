"""What a client shows, and that it shows no key in the clear to another machine."""

from pathlib import Path

import pytest

from tandem.client import AsyncSearchClient, SearchClient, tls_credentials
from tandem.client.credentials import CallMetadata, is_local_target


def test_each_call_has_its_name_and_the_token_of_now() -> None:
    tokens = iter(["one", "two", ""])
    metadata = CallMetadata("127.0.0.1:1", lambda: next(tokens), False, False)
    assert metadata.of("r1") == (("x-request-id", "r1"), ("authorization", "Bearer one"))
    assert metadata.of("") == (("authorization", "Bearer two"),)
    assert metadata.of("") is None
    assert CallMetadata("shop:1", None, False, False).of("r") == (("x-request-id", "r"),)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("dns:///localhost:1", True),
        ("[::1]:1", True),
        ("ipv4:127.0.0.1:1", False),  # to be safe
        ("unix:/tmp/x", True),
        ("10.0.0.1:1", False),
        ("dns:///shop.example:1", False),
        ("localhost.example:1", False),
        ("0.0.0.0:1", False),
        ("xds:///shop", False),
    ],
)
async def test_a_key_goes_in_the_clear_to_this_machine_alone(address: str, local: bool) -> None:
    assert is_local_target(address) == local
    for kind in (SearchClient, AsyncSearchClient):
        if local:
            assert kind(address, token="key")
        else:
            with pytest.raises(ValueError, match="in the clear"):
                kind(address, token="key")
            assert kind(address, token="key", plaintext=True)
            assert kind(address, credentials=tls_credentials(), token="key")
            assert kind(address)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_bytes(b"x")
    with pytest.raises(ValueError, match="give both"):
        tls_credentials(certificate=tmp_path / "client.pem")
    with pytest.raises(FileNotFoundError, match="other"):
        tls_credentials(tmp_path / "other.pem")
