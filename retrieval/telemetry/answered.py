"""A request that was answered, as telemetry sees it."""

from dataclasses import dataclass

from retrieval.pipeline.result import SearchResult
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query


@dataclass(frozen=True, slots=True)
class Answered:
    """A request of one of the pipelines, and its answer. `experiment` has the names of experiment and variant."""

    method: str
    request_id: str
    query: Query
    answer: SearchResult
    release: LoadedRelease
    experiment: tuple[str, str]
    permit: Permit
