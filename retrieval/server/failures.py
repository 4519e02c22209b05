"""What the failures of a request's work are called on the wire."""

import logging
from dataclasses import dataclass

import grpc

from core.errors import ChangeLogError
from engine.protocol import DeadlineExceeded, EngineError
from retrieval.live.writer import RequestIdInUse, RevisionNotThere, TooManyFresh
from retrieval.profiles.protocol import ProfileError
from retrieval.release.manager import NotReady, UnknownCatalog
from retrieval.server.catalogs import NotAllowed

log = logging.getLogger("tandem.requests")

LATE = "no answer was ready within the deadline; give the call more time or ask for less"
_ENGINE_FAILED = "the engine failed; try again, or look up request id {} in the service's log"
_PROFILES_FAILED = "the store of profiles failed; try again, or look up request id {} in the service's log"

_NOT_LOGGED = "the audit log cannot be written, and nothing was deleted; look up request id {} in the service's log"
_LOG_FAILED = (
    "the change log could not be written, and the change may or may not be in it: send it again with the same "
    "request_id, or look up request id {} in the service's log"
)


class NotLogged(Exception):
    """The audit log cannot be written."""


class NotChangeable(Exception):
    """The catalog takes no changes here."""


class NoSuggestions(Exception):
    """The release was made without suggestions."""


class NoProfiles(Exception):
    """The service keeps no profiles of shoppers."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A status code and its message, for people."""

    code: grpc.StatusCode
    message: str


def failure_of(error: Exception, request_id: str) -> Failure | None:
    """The status that a request ends with; None for what no request should meet. Logs what an engine says."""
    match error:
        case UnknownCatalog():
            return Failure(grpc.StatusCode.NOT_FOUND, str(error))
        case NotAllowed():
            return Failure(grpc.StatusCode.PERMISSION_DENIED, str(error))
        case NotReady():
            return Failure(grpc.StatusCode.UNAVAILABLE, "no release is loaded yet; try again shortly")
        case DeadlineExceeded() | TimeoutError():
            return Failure(grpc.StatusCode.DEADLINE_EXCEEDED, LATE)
        case NoSuggestions() | NoProfiles():
            return Failure(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        case ProfileError():
            log.error("request %s: profiles failed: %s", request_id, error)
            return Failure(grpc.StatusCode.UNAVAILABLE, _PROFILES_FAILED.format(request_id))
        case NotLogged():
            log.error("request %s: the audit log: %s", request_id, error)
            return Failure(grpc.StatusCode.UNAVAILABLE, _NOT_LOGGED.format(request_id))
        case NotChangeable():
            return Failure(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        case TooManyFresh():
            return Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        case RequestIdInUse():
            return Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        case RevisionNotThere():
            return Failure(grpc.StatusCode.UNAVAILABLE, str(error))
        case ChangeLogError():
            log.error("request %s: the change log: %s", request_id, error)
            return Failure(grpc.StatusCode.UNAVAILABLE, _LOG_FAILED.format(request_id))
        case EngineError():
            log.error("request %s: engine failed: %s", request_id, error)
            return Failure(grpc.StatusCode.UNAVAILABLE, _ENGINE_FAILED.format(request_id))
    return None
