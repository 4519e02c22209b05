"""A typed client: deadlines, retries that do not multiply an overload, and errors that name the cause."""

from tandem.client.asynchronous import AsyncSearchClient
from tandem.client.credentials import tls_credentials
from tandem.client.errors import SearchError, Violation
from tandem.client.retries import service_config
from tandem.client.synchronous import SearchClient
from tandem.v1.catalog_pb2 import (
    DeleteRequest,
    DeleteResponse,
    FieldsUpdate,
    ProductDelete,
    ProductUpsert,
    UpdateFieldsRequest,
    UpdateFieldsResponse,
    UpsertRequest,
    UpsertResponse,
)
from tandem.v1.recommend_pb2 import (
    ForgetUserRequest,
    ForgetUserResponse,
    PopularSubject,
    ProductSubject,
    RecommendRequest,
    RecommendResponse,
)
from tandem.v1.search_pb2 import (
    BatchSearchRequest,
    BatchSearchResponse,
    ExperimentContext,
    Hit,
    SearchRequest,
    SearchResponse,
    SuggestRequest,
    SuggestResponse,
    UserContext,
    UserProduct,
)

__all__ = [
    "AsyncSearchClient",
    "BatchSearchRequest",
    "BatchSearchResponse",
    "DeleteRequest",
    "DeleteResponse",
    "ExperimentContext",
    "FieldsUpdate",
    "ForgetUserRequest",
    "ForgetUserResponse",
    "Hit",
    "PopularSubject",
    "ProductDelete",
    "ProductSubject",
    "ProductUpsert",
    "RecommendRequest",
    "RecommendResponse",
    "SearchClient",
    "SearchError",
    "SearchRequest",
    "SearchResponse",
    "SuggestRequest",
    "SuggestResponse",
    "UpdateFieldsRequest",
    "UpdateFieldsResponse",
    "UpsertRequest",
    "UpsertResponse",
    "UserContext",
    "UserProduct",
    "Violation",
    "service_config",
    "tls_credentials",
]
