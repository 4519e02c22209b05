from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    And,
    Equal,
    Exists,
    Filter,
    InvalidFilter,
    Not,
    OneOf,
    Or,
    Range,
    check_bounds,
    conditions,
    fields,
    filter_digest,
    join_filters,
    range_problem,
    without_field,
)

BRAND = Equal("brand", "Bosch")
PRICE = Range("price", below=50.0)


def test_conditions_come_with_their_paths_as_the_contract_names_them() -> None:
    tree = And((BRAND, Or((Not(PRICE), Exists("gtin"))), OneOf("color", ("red", "blue"))))
    assert [path for path, _ in conditions(tree)] == [
        "filter.all_of.filters[0].equal",
        "filter.all_of.filters[1].any_of.filters[0].negation.range",
        "filter.all_of.filters[1].any_of.filters[1].exists",
        "filter.all_of.filters[2].one_of",
    ]
    assert fields(tree) == {"brand", "price", "gtin", "color"}


def test_a_facet_leaves_its_own_conditions_out() -> None:
    either = Or((BRAND, Equal("brand", "Makita")))
    assert without_field(BRAND, "brand") is None
    assert without_field(either, "brand") is None
    assert without_field(And((either, PRICE)), "brand") == PRICE
    assert without_field(And((BRAND, Not(BRAND))), "brand") is None
    mixed = Or((BRAND, PRICE))
    assert without_field(mixed, "brand") == mixed
    assert without_field(And((mixed, BRAND, PRICE)), "brand") == And((mixed, PRICE))


def test_filters_are_joined_without_nesting() -> None:
    assert join_filters(None, None) is None
    assert join_filters(None, BRAND) == BRAND
    assert join_filters(And((BRAND, PRICE)), None, Exists("gtin")) == And((BRAND, PRICE, Exists("gtin")))


def test_digests_do_not_depend_on_order_and_repetition() -> None:
    assert filter_digest(And((BRAND, PRICE))) == filter_digest(And((PRICE, BRAND, BRAND)))
    assert filter_digest(OneOf("a", ("x", "y"))) == filter_digest(OneOf("a", ("y", "x", "y")))
    assert filter_digest(OneOf("a", ("x",))) == filter_digest(Equal("a", "x"))
    noon, same = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    assert filter_digest(Equal("d", noon)) == filter_digest(Equal("d", same))


def test_digests_differ_where_filters_do() -> None:
    different: list[Filter] = [
        Equal("a", "1"),
        Equal("a", 1.0),
        Equal("a", True),
        Equal("b", "1"),
        OneOf("a", ("1", "2")),
        OneOf("a", ("1', '2",)),
        Range("a", at_least=1.0),
        Range("a", above=1.0),
        Range("a", at_least=1.0, at_most=2.0),
        Exists("a"),
        Not(Exists("a")),
        And((Exists("a"), Exists("b"))),
        Or((Exists("a"), Exists("b"))),
    ]
    assert len({filter_digest(one) for one in different}) == len(different)


@pytest.mark.parametrize(
    ("bounds", "problem"),
    [
        ({}, "has no bound; send at_least, above, at_most or below"),
        ({"at_least": 1.0, "above": 1.0}, "has both at_least and above; send one of them"),
        ({"at_most": 1.0, "below": 1.0}, "has both at_most and below; send one of them"),
        ({"at_least": 2.0, "at_most": 1.0}, "at_least 2 and at_most 1 leave nothing between them"),
        ({"at_least": 1.0, "below": 1.0}, "at_least 1 and below 1 leave nothing between them"),
        ({"at_least": 1.0, "at_most": 1.0}, ""),
        ({"above": 1.0}, ""),
        ({"at_least": datetime(2026, 1, 2), "at_most": datetime(2026, 1, 2, tzinfo=UTC)}, ""),
    ],
)
def test_ranges_that_cannot_be_meant_are_named(bounds: dict, problem: str) -> None:
    assert range_problem(Range("a", **bounds)) == problem


def test_larger_filters_than_a_request_may_have_are_refused() -> None:
    nested: Filter = BRAND
    for _ in range(MAX_DEPTH - 1):
        nested = Not(nested)
    check_bounds(nested)
    check_bounds(Or((BRAND,) * MAX_CONDITIONS))
    check_bounds(OneOf("a", ("x",) * MAX_VALUES))
    for tree, expected in (
        (Not(nested), "filter: is 9 levels deep; send at most 8"),
        (Or((BRAND,) * (MAX_CONDITIONS + 1)), "filter: has 257 conditions; send at most 256"),
        (OneOf("a", ("x",) * (MAX_VALUES + 1)), "filter: has 1025 values; send at most 1024"),
    ):
        with pytest.raises(InvalidFilter) as error:
            check_bounds(tree)
        assert str(error.value) == expected
