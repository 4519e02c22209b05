"""What a query states, on the wire."""

import pytest

from retrieval.understanding.result import HARD, OFF, SOFT, PredictedType, StatedAttribute, Understanding
from retrieval.wire.request import InvalidRequest, read_query
from retrieval.wire.understanding import add_understanding
from tandem.v1 import search_pb2
from text.price_bounds import PriceBounds


@pytest.mark.parametrize(("value", "mode"), [(0, SOFT), (1, HARD), (2, OFF)])
def test_modes_are_read(value: int, mode: str) -> None:
    assert read_query(search_pb2.SearchRequest(query="x", understanding=value)).understanding == mode


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="understanding: is 7; send one of UNDERSTANDING_MODE_UNSPECIFIED, "):
        read_query(search_pb2.SearchRequest(query="x", understanding=7))


def test_a_query_that_states_nothing_has_no_message() -> None:
    message = search_pb2.SearchResponse()
    add_understanding(message, Understanding(), "EUR")
    assert not message.HasField("understanding")


def test_all_that_is_stated_is_a_message() -> None:
    stated = Understanding(
        ("arms",),
        PriceBounds(None, 9_990_000),
        attributes=(StatedAttribute("color", "Dark Red", "dark red", 0.75),),
        product_types=(PredictedType("Home > Chairs", 0.5),),
    )
    message = search_pb2.SearchResponse()
    add_understanding(message, stated, "EUR")
    [attribute], [kind] = message.understanding.attributes, message.understanding.product_types
    assert (attribute.field, attribute.value, attribute.words) == ("color", "Dark Red", "dark red")
    assert (kind.product_type, kind.confidence, attribute.confidence) == ("Home > Chairs", 0.5, 0.75)
    price = message.understanding.price
    assert message.understanding.negations == ["arms"] and not price.HasField("at_least")
    assert price.at_most == search_pb2.Money(currency_code="EUR", units=9, nanos=990_000_000)
    add_understanding(message := search_pb2.SearchResponse(), Understanding((), PriceBounds(1, None)), None)
    assert message.understanding.price.at_least == search_pb2.Money(nanos=1000)
