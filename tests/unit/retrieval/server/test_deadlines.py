"""Each method has a default deadline and a bound above it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from services import Service, failure

from tandem.v1 import catalog_pb2, recommend_pb2, search_pb2

_FILES = (search_pb2, recommend_pb2, catalog_pb2)
UNARY = [
    (f"/{service.full_name}/{method.name}", method)
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.client_streaming and not method.server_streaming
]


@pytest.mark.parametrize("setting", ["default_deadline", "longest_deadline"])
async def test_every_method_keeps_to_the_default_and_the_longest_deadline(tmp_path: Path, setting: str) -> None:
    """Set to a millisecond, which is too little to begin: whatever is asked, of whichever method, ends by it."""
    service = Service(tmp_path)
    async with service.serve(**{setting: 0.001}) as (channel, _):
        timeout = None if setting == "default_deadline" else 30
        for name, method in UNARY:
            call: Any = channel.unary_unary(name)
            async with asyncio.timeout(20):
                error, _ = await failure(call(b"", timeout=timeout))
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, method.name
            assert error.details() == "no answer was ready within the deadline; give the call more time or ask for less"
        assert not service.engine.calls
    assert len(UNARY) >= 7


async def test_the_default_is_bounded_by_the_longest(tmp_path: Path) -> None:
    async with Service(tmp_path).serve(default_deadline=30, longest_deadline=0.001) as (channel, _):
        async with asyncio.timeout(20):
            error, _ = await failure(channel.unary_unary("/tandem.v1.SearchService/Search")(b""))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
