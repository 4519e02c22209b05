"""The client as the command uses it: an address is checked, and a failure is a TandemError."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import grpc

from core.address import target_address
from core.errors import TandemError
from tandem.client import SearchClient, SearchError, tls_credentials


class Credentials(NamedTuple):
    """What the command shows a service, and how: a key or a token, and files of TLS."""

    token: str = ""
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    plaintext: bool = False

    @property
    def channel(self) -> grpc.ChannelCredentials | None:
        """Those of TLS; None for a connection in the clear. Raises TandemError."""
        if not (self.tls or self.ca or self.certificate or self.key):
            return None
        try:
            return tls_credentials(self.ca, self.certificate, self.key)
        except OSError as error:
            raise TandemError(f"{error.filename}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise TandemError(f"--client-certificate and --client-key: {error}") from None


_CREDENTIALS: ContextVar[Credentials] = ContextVar("credentials")


@contextmanager
def showing(credentials: Credentials) -> Iterator[None]:
    """Has `connect` show these while the block runs."""
    before = _CREDENTIALS.set(credentials)
    try:
        yield
    finally:
        _CREDENTIALS.reset(before)


@contextmanager
def connect(address: str, timeout: float) -> Iterator[SearchClient]:
    """A client of the service at this address, once it accepts connections.

    `timeout` is each call's deadline, and the longest wait for a connection, in seconds. Raises AddressError, or
    TandemError when there is no connection or a search inside the block fails.
    """
    try:
        client = _client(target_address(address), timeout, _CREDENTIALS.get(Credentials()))
        with client:
            client.wait()
            yield client
    except SearchError as error:
        raise TandemError(str(error)) from None


def _client(address: str, timeout: float, credentials: Credentials) -> SearchClient:
    channel, token, plaintext = credentials.channel, credentials.token or None, credentials.plaintext
    try:
        return SearchClient(address, timeout, channel, token=token, plaintext=plaintext)
    except ValueError:
        raise TandemError(
            f"the key would be sent to {address} in the clear: give --ca or --tls, or allow it with --plaintext"
        ) from None
