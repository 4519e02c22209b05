"""The client as the command uses it: an address is checked, and a failure is a TandemError."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.address import target_address
from core.errors import TandemError
from tandem.client import SearchClient, SearchError


@contextmanager
def connect(address: str, timeout: float) -> Iterator[SearchClient]:
    """A client of the service at this address, once it accepts connections.

    `timeout` is each call's deadline, and the longest wait for a connection, in seconds. Raises AddressError, or
    TandemError when there is no connection or a search inside the block fails.
    """
    try:
        with SearchClient(target_address(address), timeout) as client:
            client.wait()
            yield client
    except SearchError as error:
        raise TandemError(str(error)) from None
