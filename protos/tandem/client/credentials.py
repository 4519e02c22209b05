"""What a client shows: a key or a token with each call, and, with TLS, a certificate for its connections."""

import ipaddress
from collections.abc import Callable
from pathlib import Path

import grpc

from tandem.client.tracing import trace_metadata

Token = str | Callable[[], str]
"""A key or a token (JWT), or what returns the one to use now: it is asked before each call, so that it may change."""


def tls_credentials(
    ca: Path | str | None = None, certificate: Path | str | None = None, key: Path | str | None = None
) -> grpc.ChannelCredentials:
    """Credentials of PEM files: the CAs that sign the service's certificate, without which it is those that gRPC knows,
    and the client's own certificate with its key, where the service asks for one.

    They are read once, for all connections of a client: after a change of these files make a new client. The service
    may change its certificate at any time, as long as the CAs stay. Raises OSError, or ValueError for a certificate
    without its key.
    """
    if (certificate is None) != (key is None):
        raise ValueError("a certificate and its key belong together; give both")
    roots, chain, private = (None if path is None else Path(path).read_bytes() for path in (ca, certificate, key))
    return grpc.ssl_channel_credentials(roots, private, chain)


class CallMetadata:
    """The metadata of a client's calls."""

    def __init__(self, address: str, token: Token | None, encrypted: bool, plaintext: bool) -> None:
        """Raises ValueError for a token that would be sent in the clear to another machine, unless `plaintext` allows
        it."""
        self._token = token
        if token is not None and not (encrypted or plaintext or is_local_target(address)):
            raise ValueError(f"the key would be sent to {address} in the clear; give credentials, or plaintext=True")

    def of(self, request_id: str) -> tuple[tuple[str, str], ...] | None:
        """The metadata of one call; None where there is none."""
        named = (("x-request-id", request_id),) if request_id else ()
        token = self._token() if callable(self._token) else self._token
        shown = (("authorization", f"Bearer {token}"),) if token else ()
        return (*named, *shown, *trace_metadata()) or None


def is_local_target(address: str) -> bool:
    """Whether a target of gRPC is this machine by itself: loopback, localhost, or a socket."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition("/")[2].rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
