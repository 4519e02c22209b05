from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.json_format import ParseDict

from catalog.columns import Kind
from core.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Range
from retrieval.wire.filters import check_filter_fields, filter_message, read_filter
from retrieval.wire.request import InvalidRequest, read_query
from tandem.v1 import search_pb2


def message(value: dict) -> search_pb2.Filter:
    return ParseDict(value, search_pb2.Filter())


def violations(value: dict | search_pb2.Filter) -> dict[str, str]:
    given = message(value) if isinstance(value, dict) else value
    with pytest.raises(InvalidRequest) as error:
        read_filter(given)
    return {violation.field: violation.description for violation in error.value.violations}


TREES: list[Filter] = [
    Equal("brand", "Bosch"),
    Equal("attributes.Voltage", 18.0),
    Equal("attributes.New", False),
    Equal("attributes.Added", datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)),
    OneOf("brand", ("a", 1.5, True)),
    Range("price", at_least=1.0, below=5.0),
    Range("price", above=0.0),
    Range("price", at_most=-1.0),
    Exists("gtin"),
    Not(Exists("gtin")),
    And((Exists("gtin"), Or((Exists("a"), Not(Equal("b", "")))))),
]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_a_filter_survives_its_message(tree: Filter) -> None:
    assert read_filter(search_pb2.Filter.FromString(filter_message(tree).SerializeToString())) == tree


def test_times_without_a_zone_are_in_utc_and_others_keep_their_instant() -> None:
    plain, zoned = datetime(2026, 1, 1), datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    for time in (plain, zoned):
        assert read_filter(filter_message(Equal("d", time))) == Equal("d", datetime(2026, 1, 1, tzinfo=UTC))


def test_what_is_missing_is_named_by_its_path() -> None:
    nothing = "has no condition; set equal, one_of, range, exists, negation, all_of or any_of"
    assert violations({}) == {"filter": nothing}
    assert violations({"all_of": {"filters": [{"exists": "a"}, {"negation": {}}]}}) == {
        "filter.all_of.filters[1].negation": nothing
    }
    assert violations({"any_of": {}}) == {"filter.any_of.filters": "is empty; send at least one filter"}
    assert violations({"exists": ""}) == {"filter.exists": "is empty; send the name of a field"}
    assert violations({"equal": {"value": {}}}) == {
        "filter.equal.field": "is empty; send the name of a field",
        "filter.equal.value": "has no value; set text, number, boolean or time",
    }
    assert violations({"one_of": {"field": "a"}}) == {"filter.one_of.values": "is empty; send at least one value"}
    assert violations({"range": {"field": "a"}}) == {
        "filter.range": "has no bound; send at_least, above, at_most or below"
    }


def test_values_that_cannot_be_meant_are_named() -> None:
    assert violations({"equal": {"field": "a", "value": {"number": "NaN"}}}) == {
        "filter.equal.value": "is nan; send a finite number"
    }
    assert violations({"range": {"field": "a", "below": {"number": "-Infinity"}}}) == {
        "filter.range.below": "is -inf; send a finite number"
    }
    assert violations({"range": {"field": "a", "at_least": {"number": 5}, "at_most": {"number": 4}}}) == {
        "filter.range": "at_least 5 and at_most 4 leave nothing between them"
    }
    assert violations({"range": {"field": "a", "at_least": {"boolean": True}}}) == {
        "filter.range.at_least": "is true or false; a bound is a number or a time"
    }
    late = search_pb2.Filter()
    late.equal.field = "a"
    late.equal.value.time.seconds = 1 << 50
    assert violations(late) == {"filter.equal.value": "is no time between the years 1 and 9999"}


def test_long_names_and_values_are_refused() -> None:
    assert read_filter(filter_message(Equal("f" * 128, "x" * 1024)))
    assert violations(filter_message(Equal("f" * 129, "x" * 1025))) == {
        "filter.equal.field": "has 129 characters; send at most 128",
        "filter.equal.value": "has 1025 characters; send at most 1024",
    }


def test_larger_filters_than_allowed_are_refused_once() -> None:
    deep: Filter = Exists("a")
    for _ in range(7):
        deep = Not(deep)
    assert read_filter(filter_message(deep)) == deep
    assert violations(filter_message(Not(deep))) == {"filter": "is more than 8 levels deep"}
    assert read_filter(filter_message(Or((Exists("a"),) * 256)))
    assert violations(filter_message(Or((Exists("a"),) * 3000))) == {"filter": "has more than 256 conditions"}
    assert read_filter(filter_message(OneOf("a", ("x",) * 1024)))
    assert violations(filter_message(OneOf("a", ("x",) * 1025))) == {"filter": "has more than 1024 values"}
    wide = Or(tuple(OneOf("a", ("x",) * 100) for _ in range(11)))
    assert violations(filter_message(wide)) == {"filter": "has more than 1024 values"}


def test_many_faults_are_not_all_looked_for() -> None:
    many = search_pb2.Filter(any_of=search_pb2.FilterList(filters=[search_pb2.Filter()] * 10_000))
    assert list(violations(many)) == [f"filter.any_of.filters[{i}]" for i in range(10)]


def test_a_request_carries_its_filter_and_names_its_faults_beside_others() -> None:
    request = search_pb2.SearchRequest(query="x", filter=filter_message(Exists("a")))
    assert read_query(request).filter == Exists("a")
    assert read_query(search_pb2.SearchRequest(query="x")).filter is None
    with pytest.raises(InvalidRequest) as error:
        read_query(search_pb2.SearchRequest(query="", filter=search_pb2.Filter()))
    assert [violation.field for violation in error.value.violations] == ["query", "filter"]


def test_a_filter_is_checked_against_the_columns_of_the_release() -> None:
    kinds = {"brand": Kind.string, "price": Kind.money}
    check_filter_fields(None, None)
    check_filter_fields(Equal("brand", "x"), kinds)
    with pytest.raises(InvalidRequest) as error:
        check_filter_fields(And((Equal("brant", "x"), Equal("price", "x"))), kinds)
    assert {violation.field: violation.description for violation in error.value.violations} == {
        "filter.all_of.filters[0].equal.field": "'brant' is no field of this catalog; did you mean 'brand'?",
        "filter.all_of.filters[1].equal.value": "'price' holds amounts of money; send a number",
    }
    with pytest.raises(InvalidRequest, match="no typed columns; index the catalog again with `tandem index`"):
        check_filter_fields(Exists("brand"), None)
    with pytest.raises(InvalidRequest) as error:
        check_filter_fields(Or(tuple(Exists(f"no{i}") for i in range(256))), kinds)
    assert len(error.value.violations) == 10
