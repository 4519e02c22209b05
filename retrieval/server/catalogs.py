"""The release that a request is for, where its caller may use that catalog."""

from retrieval.release.loaded import LoadedRelease
from retrieval.release.manager import NotReady, ReleaseManager, UnknownCatalog
from retrieval.server.caller import Caller
from retrieval.server.identity.access import Scope
from retrieval.wire.violations import InvalidRequest, Violation

_OTHER = "this credential may not use that catalog"
_NO_EVENTS = "to remember what a shopper did needs a credential with the scope events"
_MOST_NAMES = 10


class NotAllowed(Exception):
    """The caller may not do this."""


def find_release(manager: ReleaseManager, catalog: str, caller: Caller) -> LoadedRelease:
    """The release in service of the named catalog, or of the only one that the caller may use for an empty name.

    A catalog of others is answered as one that does not exist, and no message names any. Raises NotAllowed, and what
    `ReleaseManager.get` raises.
    """
    if caller.catalogs is None:
        return manager.get(catalog)
    if catalog:
        if not caller.may_use(catalog):
            raise NotAllowed(_OTHER)
        return _one(manager, catalog)
    names = sorted(caller.catalogs.intersection(manager.loaded))
    if len(names) > 1:
        shown = ", ".join(names[:_MOST_NAMES])
        raise InvalidRequest([Violation("catalog", f"is needed, since this credential may use several: {shown}")])
    if not names and not manager.loaded:
        raise NotReady
    return _one(manager, names[0] if names else min(caller.catalogs, default=""))


def check_remember(remember: bool, caller: Caller) -> None:
    """Raises NotAllowed where a request adds to a profile and its caller may not."""
    if remember and caller.scopes is not None and Scope.events not in caller.scopes:
        raise NotAllowed(_NO_EVENTS)


def _one(manager: ReleaseManager, catalog: str) -> LoadedRelease:
    """The catalog's release; the error names no others."""
    if not catalog:
        raise NotAllowed("this credential may use no catalog")
    try:
        return manager.get(catalog)
    except UnknownCatalog:
        raise UnknownCatalog(f"catalog {catalog!r} is not served here") from None
