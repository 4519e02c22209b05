"""Requests for recommendations read and checked, and their answers as messages."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.pipeline.result import PersonReport, SearchResult
from retrieval.recommend.user import Relation, Subject
from retrieval.release.loaded import LoadedRelease
from retrieval.wire.request import Query, read_list_query
from retrieval.wire.response import fill_answer
from retrieval.wire.user import (
    MOST_USER_ID,
    product_id_violations,
    read_user,
    segment_violations,
    user_violations,
)
from retrieval.wire.violations import InvalidRequest, Violation
from tandem.v1 import recommend_pb2

_RELATIONS = {
    recommend_pb2.PRODUCT_RELATION_UNSPECIFIED: Relation.similar,
    recommend_pb2.PRODUCT_RELATION_SIMILAR: Relation.similar,
    recommend_pb2.PRODUCT_RELATION_BOUGHT_TOGETHER: Relation.bought_together,
}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a list is for, and what it is to be."""

    subject: Subject
    query: Query


def read_recommendation(request: recommend_pb2.RecommendRequest) -> Recommendation:
    """Reads a request. Raises InvalidRequest with all its violations at once."""
    query = read_list_query(request, list(_subject_violations(request)))
    return Recommendation(_subject(request), query)


def read_forgotten(request: recommend_pb2.ForgetUserRequest) -> str:
    """The id of the shopper to forget. Raises InvalidRequest, without the id."""
    length = len(request.user_id)
    if not length:
        raise InvalidRequest([Violation("user_id", "is empty; send the id of the shopper to forget")])
    if length > MOST_USER_ID:
        raise InvalidRequest([Violation("user_id", f"has {length} characters; send at most {MOST_USER_ID}")])
    return request.user_id


async def recommend_response(
    request: recommend_pb2.RecommendRequest, query: Query, answer: SearchResult, release: LoadedRelease, request_id: str
) -> recommend_pb2.RecommendResponse:
    """The answer as a message; see `retrieval.wire.response.response`."""
    person = answer.person or PersonReport()
    message = recommend_pb2.RecommendResponse(path=f"RECOMMENDATION_PATH_{person.path or 'UNSPECIFIED'}")
    message.sources.extend(person.sources)
    message.products_used, message.unknown_products = person.products, person.unknown
    for slot in person.exploration:
        message.exploration.add(product_id=answer.view.id(slot.row), rank=slot.rank, propensity=slot.propensity)
    await fill_answer(message, request, query, answer, release, request_id)
    return message


def _subject(request: recommend_pb2.RecommendRequest) -> Subject:
    kind = request.WhichOneof("subject")
    if kind == "user":
        return Subject(user=read_user(request.user))
    if kind == "product":
        return Subject(product_id=request.product.product_id, relation=_RELATIONS[request.product.relation])
    return Subject(segments=dict(request.popular.segments))


def _subject_violations(request: recommend_pb2.RecommendRequest) -> Iterator[Violation]:
    kind = request.WhichOneof("subject")
    if kind == "user":
        yield from user_violations(request.user, time.time())
    elif kind == "product":
        yield from product_id_violations(request.product.product_id, "product.product_id")
        if request.product.relation not in _RELATIONS:
            names = ", ".join(recommend_pb2.ProductRelation.keys())
            yield Violation("product.relation", f"is {request.product.relation}; send one of {names}")
    elif kind == "popular":
        yield from segment_violations(request.popular.segments, "popular.segments")
