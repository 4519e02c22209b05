"""The authorisation table: each RPC of each service has a row, and each row an RPC."""

import importlib
from pathlib import Path

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import tandem.v1
from retrieval.server.identity.access import ACCESS, OF_ALL_CATALOGS, Need, Scope
from retrieval.server.reflection import REFLECTIONS


def all_methods() -> set[str]:
    """The RPCs of every .proto file of the contract, of health and of both versions of reflection."""
    modules = [path.stem for folder in tandem.v1.__path__ for path in Path(folder).glob("*_pb2.py")]
    files = [importlib.import_module(f"tandem.v1.{name}").DESCRIPTOR for name in modules] + [health_pb2.DESCRIPTOR]
    services = [service for file in files for service in file.services_by_name.values()]
    named = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    [reflection] = reflection_pb2.DESCRIPTOR.services_by_name.values()
    return named | {f"/{name}/{method.name}" for name in REFLECTIONS for method in reflection.methods}


def test_each_rpc_has_a_row_and_each_row_an_rpc() -> None:
    methods = all_methods()
    assert len(methods) >= 13
    assert set(ACCESS) == methods, "give the new RPC its row in retrieval/server/identity/access.py"


def test_what_changes_something_needs_more_than_search() -> None:
    assert {method for method, need in ACCESS.items() if need is Scope.search} == {
        "/tandem.v1.SearchService/Search",
        "/tandem.v1.SearchService/BatchSearch",
        "/tandem.v1.SearchService/Suggest",
        "/tandem.v1.RecommendService/Recommend",
    }
    assert ACCESS["/tandem.v1.RecommendService/ForgetUser"] is Scope.admin
    assert set(OF_ALL_CATALOGS) == {"/tandem.v1.RecommendService/ForgetUser"}


def test_health_alone_needs_nothing() -> None:
    assert {method.split("/")[1] for method, need in ACCESS.items() if need is Need.nothing} == {
        "grpc.health.v1.Health"
    }
