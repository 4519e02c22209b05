"""A typed client: deadlines, retries that do not multiply an overload, and errors that name the cause."""

from tandem.client.asynchronous import AsyncSearchClient
from tandem.client.errors import SearchError, Violation
from tandem.client.retries import service_config
from tandem.client.synchronous import SearchClient
from tandem.v1.search_pb2 import (
    BatchSearchRequest,
    BatchSearchResponse,
    ExperimentContext,
    Hit,
    SearchRequest,
    SearchResponse,
    SuggestRequest,
    SuggestResponse,
)

__all__ = [
    "AsyncSearchClient",
    "BatchSearchRequest",
    "BatchSearchResponse",
    "ExperimentContext",
    "Hit",
    "SearchClient",
    "SearchError",
    "SearchRequest",
    "SearchResponse",
    "SuggestRequest",
    "SuggestResponse",
    "Violation",
    "service_config",
]
