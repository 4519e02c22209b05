"""Requests for recommendations, and what a request states of a shopper, read and checked."""

import time
from typing import Any

import pytest

from core.filters import Equal
from retrieval.recommend.user import Action, Relation, Subject, User, UserEvent
from retrieval.wire.recommend import read_forgotten, read_recommendation
from retrieval.wire.request import read_query
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import recommend_pb2, search_pb2

SECRET = "shopper-4711"


def request(**parts: Any) -> recommend_pb2.RecommendRequest:
    return recommend_pb2.RecommendRequest(**parts)


def violations(**parts: Any) -> dict[str, str]:
    """The fields at fault and what is said of them."""
    with pytest.raises(InvalidRequest) as error:
        read_recommendation(request(**parts))
    assert SECRET not in str(error.value)
    return {violation.field: violation.description for violation in error.value.violations}


def test_a_whole_request_is_read() -> None:
    read = read_recommendation(
        request(
            top_k=7,
            language="EN",
            country="ie",
            filter={"equal": {"field": "brand", "value": {"text": "Acme"}}},
            total="TOTAL_MODE_EXACT",
            explain=True,
            user={
                "user_id": SECRET,
                "products": [
                    {"product_id": "a", "time": {"seconds": 5, "nanos": 500_000_000}, "action": "USER_ACTION_PURCHASE"},
                    {"product_id": "b"},
                ],
                "segments": {"age": "young"},
                "remember": True,
            },
        )
    )
    events = (UserEvent("a", 5.5, Action.purchase), UserEvent("b", None, Action.view))
    assert read.subject == Subject(user=User(SECRET, events, {"age": "young"}, True))
    assert (read.query.top_k, read.query.language, read.query.country) == (7, "en", "IE")
    assert read.query.filter == Equal("brand", "Acme") and read.query.explain
    assert read.query.listing.count and read.query.listing.digest
    assert SECRET not in repr(read)


@pytest.mark.parametrize(
    ("parts", "subject"),
    [
        ({}, Subject()),
        ({"popular": {"segments": {"age": "young"}}}, Subject(segments={"age": "young"})),
        ({"product": {"product_id": "a"}}, Subject(product_id="a")),
        (
            {"product": {"product_id": "a", "relation": "PRODUCT_RELATION_BOUGHT_TOGETHER"}},
            Subject(product_id="a", relation=Relation.bought_together),
        ),
        ({"user": {}}, Subject(user=User())),
    ],
)
def test_each_subject_is_read(parts: dict[str, Any], subject: Subject) -> None:
    assert read_recommendation(request(**parts)).subject == subject


@pytest.mark.parametrize(
    ("parts", "field", "words"),
    [
        ({"user": {"user_id": SECRET * 30}}, "user.user_id", "at most 256"),
        ({"user": {"remember": True}}, "user.remember", "user_id"),
        ({"user": {"strength": float("nan")}}, "user.strength", "0 to 1"),
        ({"user": {"strength": 2.0}}, "user.strength", "0 to 1"),
        ({"user": {"products": [{"product_id": "a"}] * 1001}}, "user.products", "latest 1,000"),
        ({"user": {"products": [{"product_id": ""}]}}, "user.products[0].product_id", "empty"),
        ({"user": {"products": [{"product_id": "x" * 1025}]}}, "user.products[0].product_id", "at most 1,024"),
        ({"user": {"products": [{"product_id": "a", "action": 9}]}}, "user.products[0].action", "USER_ACTION_VIEW"),
        ({"user": {"products": [{"product_id": "a", "time": {"seconds": -1}}]}}, "user.products[0].time", "1970"),
        ({"user": {"products": [{"product_id": "a", "time": {"nanos": -1}}]}}, "user.products[0].time", "1970"),
        (
            {"user": {"products": [{"product_id": "a", "time": {"seconds": int(time.time()) + 2 * 86_400}}]}},
            "user.products[0].time",
            "a day from now",
        ),
        ({"user": {"segments": {str(i): "x" for i in range(17)}}}, "user.segments", "at most 16"),
        ({"user": {"segments": {"age": "x" * 129}}}, "user.segments", "128"),
        ({"user": {"segments": {"": "x"}}}, "user.segments", "name"),
        ({"popular": {"segments": {"": "x"}}}, "popular.segments", "name"),
        ({"product": {}}, "product.product_id", "empty"),
        ({"product": {"product_id": "x" * 2000}}, "product.product_id", "at most 1,024"),
        ({"product": {"product_id": "a", "relation": 9}}, "product.relation", "PRODUCT_RELATION_SIMILAR"),
        ({"top_k": 201}, "top_k", "1 to 200"),
        ({"total": 9}, "total", "TOTAL_MODE_EXACT"),
        ({"catalog": "c" * 200}, "catalog", "at most 128"),
        ({"product_mask": {"paths": ["name"]}}, "product_mask.paths[0]", "no field"),
        ({"diversity": {"strength": float("nan")}}, "diversity.strength", "0 to 1"),
        ({"page_token": "x" * 9000}, "page_token", "unchanged"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(parts: dict[str, Any], field: str, words: str) -> None:
    assert words in violations(**parts)[field]


def test_all_violations_are_named_at_once() -> None:
    named = violations(top_k=-1, user={"strength": -1, "products": [{}, {"product_id": "a", "action": 7}]})
    assert list(named) == ["user.strength", "user.products[0].product_id", "user.products[1].action", "top_k"]


def test_a_search_takes_the_same_user() -> None:
    read = read_query(search_pb2.SearchRequest(query="cup", user={"products": [{"product_id": "a"}], "strength": 0.5}))  # type: ignore[arg-type]
    assert read.user == User(events=(UserEvent("a"),), strength=0.5)
    assert read_query(search_pb2.SearchRequest(query="cup")).user is None
    with pytest.raises(InvalidRequest, match=r"user\.strength"):
        read_query(search_pb2.SearchRequest(query="cup", user={"strength": 7}))  # type: ignore[arg-type]


def test_the_digest_of_a_list_is_of_its_subject_but_not_of_what_the_shopper_did() -> None:
    def digest(**parts: Any) -> bytes:
        return read_recommendation(request(total="TOTAL_MODE_EXACT", **parts)).query.listing.digest

    assert digest(user={"user_id": "a"}) == digest(user={"user_id": "a", "products": [{"product_id": "x"}]})
    different = [digest(), digest(product={"product_id": "a"}), digest(product={"product_id": "b"})]
    different.append(read_query(search_pb2.SearchRequest(query="a", total="TOTAL_MODE_EXACT")).listing.digest)
    assert len(set(different)) == 4


def test_an_id_to_forget_is_needed_and_bounded() -> None:
    assert read_forgotten(recommend_pb2.ForgetUserRequest(user_id=SECRET)) == SECRET
    for bad in ("", SECRET * 100):
        with pytest.raises(InvalidRequest, match="user_id") as error:
            read_forgotten(recommend_pb2.ForgetUserRequest(user_id=bad))
        assert SECRET not in str(error.value)
