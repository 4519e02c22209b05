"""The authorisation table: what a caller needs for each method. A method that has no row is refused."""

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """What a credential allows."""

    search = "search"
    write = "write"
    events = "events"
    admin = "admin"


class Need(StrEnum):
    """What a method needs beside a scope."""

    nothing = "nothing"
    identity = "identity"
    """A valid credential, whatever its scopes."""


SCOPES = frozenset(Scope)
HEALTH_METHODS = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")

# Orchestrators ask for health, and have no credentials. `ForgetUser` deletes in all catalogs: see `needs_all_catalogs`.
ACCESS: Mapping[str, Scope | Need] = {
    "/tandem.v1.SearchService/Search": Scope.search,
    "/tandem.v1.SearchService/BatchSearch": Scope.search,
    "/tandem.v1.SearchService/Suggest": Scope.search,
    "/tandem.v1.RecommendService/Recommend": Scope.search,
    "/tandem.v1.RecommendService/ForgetUser": Scope.admin,
    "/tandem.v1.CatalogService/Upsert": Scope.write,
    "/tandem.v1.CatalogService/Delete": Scope.write,
    "/tandem.v1.CatalogService/UpdateFields": Scope.write,
    "/tandem.v1.CatalogService/Change": Scope.write,
    "/grpc.health.v1.Health/Check": Need.nothing,
    "/grpc.health.v1.Health/Watch": Need.nothing,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Need.identity,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Need.identity,
}
"""By full method name. A request that has a shopper remembered needs `events` as well."""
OF_ALL_CATALOGS = frozenset({"/tandem.v1.RecommendService/ForgetUser"})
"""Methods that reach into every catalog, and so need a credential for all of them."""
