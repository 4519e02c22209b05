"""Small query logs and calls for the tests of load tests."""

import numpy as np

from benchmarks.load.measured import OK, Call
from benchmarks.load.queries import QueryLog
from tandem.v1 import search_pb2

LOG = QueryLog(["red", "blue"], np.array([0.75, 0.25]), {"red": {"a": 3.0, "b": 1.0}})


def answer(*products: str, degraded: bool = False) -> bytes:
    """A response with these products, best first."""
    message = search_pb2.SearchResponse(hits=[search_pb2.Hit(product_id=product) for product in products])
    if degraded:
        message.degraded.add(reason=search_pb2.DEGRADATION_REASON_RERANK_SKIPPED)
    return message.SerializeToString()


def call(
    latency: float, status: str = OK, query: int = 0, data: bytes = b"", due: float = 0.0, lag: float = 0.0,
    retry: bool = False,
) -> Call:  # fmt: skip
    """A call that took so many seconds from when it was due."""
    return Call(due, due + lag, due + latency, query, status, data, retry)
