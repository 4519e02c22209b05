"""Whatever a client sends is a request for recommendations or an invalid one, and what is read is answered."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recommendations import make_shop

from core.plan import MAX_TOP_K, Plan
from retrieval.pipeline.recommend import recommend
from retrieval.recommend.user import Subject
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.server.calls import Unreadable, reader
from retrieval.wire.filters import check_filter_fields
from retrieval.wire.recommend import Recommendation, read_recommendation, recommend_response
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import recommend_pb2

_INT32 = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 205)
_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["", "x" * 2000, "\x00", "靴" * 300])
_PRODUCT = st.sampled_from(["p1", "p2", "p40", "nothing", ""]) | _TEXT
_FLOAT = st.floats() | st.sampled_from([0.0, 0.5, 1.0])
_TIME = st.fixed_dictionaries(
    {}, optional={"seconds": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**31), "nanos": _INT32}
)
_EVENT = st.fixed_dictionaries({}, optional={"product_id": _PRODUCT, "time": _TIME, "action": _INT32})
_SEGMENTS = st.dictionaries(_TEXT, _TEXT, max_size=20)
_USER = st.fixed_dictionaries(
    {},
    optional={
        "user_id": _TEXT,
        "products": st.lists(_EVENT, max_size=6),
        "segments": _SEGMENTS,
        "remember": st.booleans(),
        "strength": _FLOAT,
    },
)
_SUBJECTS = (
    st.just({})
    | st.fixed_dictionaries({"user": _USER})
    | st.fixed_dictionaries({"product": st.fixed_dictionaries({"product_id": _PRODUCT, "relation": _INT32})})
    | st.fixed_dictionaries({"product": st.fixed_dictionaries({"product_id": _PRODUCT})})
    | st.fixed_dictionaries({"popular": st.fixed_dictionaries({"segments": _SEGMENTS})})
)
_FIELD = st.sampled_from(["color", "price", "item_group_id", "id", "size", ""])
_LISTING = st.fixed_dictionaries(
    {},
    optional={
        "top_k": _INT32,
        "facets": st.lists(st.fixed_dictionaries({"field": _FIELD, "limit": _INT32}), max_size=2),
        "sort": st.lists(st.fixed_dictionaries({"field": _FIELD, "descending": st.booleans()}), max_size=2),
        "total": _INT32 | st.integers(0, 2),
        "group_by": st.fixed_dictionaries({}, optional={"field": _FIELD, "variants": _INT32}),
        "diversity": st.fixed_dictionaries(
            {},
            optional={
                "strength": _FLOAT,
                "caps": st.lists(st.fixed_dictionaries({"field": _FIELD, "most": _INT32}), max_size=2),
            },
        ),
        "page_token": _TEXT,
        "filter": st.sampled_from(
            [
                {"equal": {"field": "color", "value": {"text": "red"}}},
                {"equal": {"field": "color", "value": {"text": "nothing"}}},
                {"equal": {"field": "id", "value": {"text": "p2"}}},
                {"range": {"field": "price", "below": {"number": 3.0}}},
                {"negation": {"exists": "color"}},
            ]
        ),
        "explain": st.booleans(),
    },
)


@pytest.fixture(scope="module")
def shop() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        yield make_shop(Path(folder))


def _read(request: recommend_pb2.RecommendRequest) -> Recommendation | InvalidRequest:
    try:
        return read_recommendation(request)
    except InvalidRequest as error:
        assert error.violations and all(violation.field and violation.description for violation in error.violations)
        return error


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_SUBJECTS, _LISTING)
def test_any_request_is_answered_or_refused_with_what_is_wrong(
    shop: LoadedRelease, subject: dict[str, Any], listing: dict[str, Any]
) -> None:
    try:
        request = recommend_pb2.RecommendRequest(**subject, **listing)
    except ValueError:  # protobuf itself takes no such number
        return
    read = _read(request)
    if isinstance(read, InvalidRequest):
        return
    assert isinstance(read.subject, Subject) and 1 <= read.query.top_k <= MAX_TOP_K

    async def answer() -> recommend_pb2.RecommendResponse:
        check_filter_fields(read.query.filter, shop.view.field_kinds)
        made = await recommend(read.query, read.subject, Plan(exploration=0.2), shop, Permit(), None, request_id="r")
        return await recommend_response(request, read.query, made, shop, "r")

    try:
        message = asyncio.run(answer())
    except InvalidRequest as error:
        assert error.violations
        return
    ids = [hit.product_id for hit in message.hits]
    assert len(ids) == len(set(ids)) and message.path and not message.degraded
    assert message.hits or message.filter.passing <= 1
    assert not message.HasField("filter") or len(ids) <= message.filter.passing
    assert [hit.rank for hit in message.hits] == list(range(1, len(ids) + 1))
    assert request.product.product_id not in ids or not request.product.product_id


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_no_request(data: bytes) -> None:
    read = reader(recommend_pb2.RecommendRequest)(data)
    if not isinstance(read, Unreadable):
        _read(read)
