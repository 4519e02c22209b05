"""What the options of `tandem recommend` ask, and how a list is printed."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from core.errors import TandemError
from lifecycle.cli.recommend_request import add_subject, read_recent
from lifecycle.cli.show_recommendations import show_recommendations
from tandem.v1 import recommend_pb2, search_pb2


def subject(**options: Any) -> recommend_pb2.RecommendRequest:
    request = recommend_pb2.RecommendRequest()
    usual: dict[str, Any] = {
        **{"recent": (), "user": "", "remember": False, "product": "", "relation": "similar", "segments": ()}
    }
    add_subject(request, **(usual | options))
    return request


def test_each_way_to_ask_has_its_subject() -> None:
    assert subject().WhichOneof("subject") is None
    assert dict(subject(segments=["age=25-34", "x=a=b"]).popular.segments) == {"age": "25-34", "x": "a=b"}
    beside = subject(product="p:1", relation="bought-together").product
    assert (beside.product_id, beside.relation) == ("p:1", recommend_pb2.PRODUCT_RELATION_BOUGHT_TOGETHER)
    user = subject(recent=["a", "b:view"], user="anne", remember=True, segments=["channel=web"]).user
    assert user.user_id == "anne" and user.remember and dict(user.segments) == {"channel": "web"}
    assert [one.product_id for one in user.products] == ["a", "b"]
    assert user.products[0].time.seconds == user.products[1].time.seconds + 1


@pytest.mark.parametrize(
    ("text", "product", "action"),
    [
        ("a", "a", "PURCHASE"),
        ("a:view", "a", "VIEW"),
        ("urn:a:cart", "urn:a", "CART"),
        ("urn:a", "urn:a", "PURCHASE"),
        (":view", ":view", "PURCHASE"),
    ],
)
def test_an_id_may_have_colons(text: str, product: str, action: str) -> None:
    read = read_recent(text)
    assert (read.product_id, search_pb2.UserAction.Name(read.action)) == (product, f"USER_ACTION_{action}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"product": "p", "user": "u"}, "--product goes without"),
        ({"remember": True, "user": "u"}, "give both"),
        ({"remember": True, "recent": ["a"]}, "give both"),
        ({"relation": "bought-together"}, "--product"),
        ({"segments": ["age"]}, "NAME=VALUE"),
        ({"segments": ["=x"]}, "NAME=VALUE"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TandemError, match=words):
        subject(**options)


def test_a_list_states_how_it_came_about() -> None:
    console = Console(file=StringIO(), width=160)
    answer = recommend_pb2.RecommendResponse(
        path="RECOMMENDATION_PATH_ONE_PRODUCT",
        sources=["similar", "popular"],
        products_used=1,
        unknown_products=2,
        next_page_token="abc",
    )
    hit = answer.hits.add(product_id="1", rank=1)
    hit.product.title = "Kettle [b]"
    hit.stage_scores.add(stage="similar", score=0.75, rank=1)
    answer.exploration.add(product_id="1", rank=1, propensity=0.125)
    answer.total.value = 7
    show_recommendations(console, answer)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for line in (
        "for the one product known of the shopper",
        "Kettle [b]",
        "0.750",
        "7 products match",
        "1 products of the shopper's used, 2 unknown to the catalog",
        "sources: similar, popular",
        "kept for new products, with their propensities: 1 (0.125)",
        "next page: --page abc",
    ):
        assert line in text
