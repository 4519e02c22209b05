"""Why a search failed."""

from dataclasses import dataclass

import grpc

from tandem.client.retries import FailedCall
from tandem.client.status import field_violations, retry_delay

NOTHING_LISTENS = "nothing answers at {}: start it with `tandem serve`"
_NO_TLS = "no TLS connection with {}: its certificate is of another CA or name, or it has no TLS"
_CLOSED = "{} closes connections at once: it wants TLS, or a certificate of the client"


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of the request that the service does not accept."""

    field: str
    description: str


class SearchError(Exception):
    """A search that failed. As text, one line.

    `retry_after` is in seconds, where the service gives a delay; `violations` are those of an INVALID_ARGUMENT.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        retry_after: float | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        """`message` is the service's, or says why there is no connection."""
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.violations = violations
        delay = "" if retry_after is None else f" (retry after {round(retry_after * 1000)} ms)"
        super().__init__(f"{code.name}: {message}{delay}")


class NotReachableError(SearchError):
    """There is no connection to the service."""

    def __init__(self, message: str) -> None:
        """`message` says what to do."""
        super().__init__(grpc.StatusCode.UNAVAILABLE, message)

    def __str__(self) -> str:
        return self.message


def unreadable(address: str) -> SearchError:
    """The error of an answer that cannot be read. gRPC's asyncio returns None in its place."""
    message = f"{address} answered with what is no message of this service: check the address"
    return SearchError(grpc.StatusCode.INTERNAL, message)


def search_error(error: FailedCall, address: str) -> SearchError:
    """The error of a call to a service at this address."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.INTERNAL and "deserializing response" in details:
        return unreadable(address)
    if code is grpc.StatusCode.UNAVAILABLE and "resol" in details.lower():
        return NotReachableError(f"no host has the name in {address!r}: check the address")
    if code is grpc.StatusCode.UNAVAILABLE and "handshake failed" in details.lower():
        return NotReachableError(_NO_TLS.format(address))
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower() and "socket closed" in details.lower():
        return NotReachableError(_CLOSED.format(address))
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
        return NotReachableError(NOTHING_LISTENS.format(address))
    metadata = dict(error.trailing_metadata() or ())
    violations = tuple(Violation(*violation) for violation in field_violations(metadata))
    message = " ".join(details.split()) or "no reason was given"
    return SearchError(code, message, retry_delay(metadata), violations)
