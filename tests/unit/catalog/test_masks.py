from datetime import UTC, datetime
from itertools import count

import numpy as np
import pytest

from catalog import masks
from catalog.columns import Kind, make_columns
from catalog.masks import MaskCache, check_filter, evaluate, filter_problems
from core.filters import And, Equal, Exists, Filter, InvalidFilter, Not, OneOf, Or, Range

COLUMNS = make_columns(
    {
        "brand": ["Bosch", "Makita", None, "Bosch"],
        "color": [("red", "blue"), None, ("red",), ("green",)],
        "price": [19.99, 20, None, 0.1],
        "attributes.Voltage": [18, 12, None, 18.5],
        "attributes.Cordless": [True, False, None, True],
        "attributes.Added": [datetime(2026, 1, 1), datetime(2026, 1, 2), None, datetime(2025, 6, 1, 12)],
        "description": ["x", None, "y", None],
        "product_type": [("Home", "Home > Mugs"), ("Home",), None, ("Garden",)],
    },
    {"price": Kind.money, "description": Kind.text},
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (Equal("brand", "Bosch"), [0, 3]),
        (Equal("brand", "bosch"), []),
        (Not(Equal("brand", "Bosch")), [1, 2]),
        (OneOf("brand", ("Makita", "nobody", "Bosch")), [0, 1, 3]),
        (Equal("color", "red"), [0, 2]),
        (OneOf("color", ("blue", "green")), [0, 3]),
        (Exists("color"), [0, 2, 3]),
        (Equal("price", 19.99), [0]),
        (Equal("price", 20), [1]),
        (Range("price", at_least=19.99), [0, 1]),
        (Range("price", above=19.99), [1]),
        (Range("price", above=0.1, below=20.0), [0]),
        (Range("price", at_most=0.10000001), [3]),
        (Range("price", below=0.1), []),
        (Equal("attributes.Voltage", 18.0), [0]),
        (OneOf("attributes.Voltage", (18.5, 12)), [1, 3]),
        (Equal("attributes.Cordless", False), [1]),
        (OneOf("attributes.Cordless", (True, False)), [0, 1, 3]),
        (Equal("attributes.Added", "2026-01-01"), [0]),
        (Range("attributes.Added", at_least=datetime(2026, 1, 1, tzinfo=UTC)), [0, 1]),
        (Range("attributes.Added", below="2025-06-01T14:00:00+01:00"), [3]),
        (Exists("description"), [0, 2]),
        (Equal("product_type", "Home"), [0, 1]),
        (Equal("product_type", "Home>Mugs"), [0]),
        (And((Equal("brand", "Bosch"), Equal("color", "red"))), [0]),
        (Or((Equal("brand", "Makita"), Not(Exists("price")))), [1, 2]),
    ],
)
def test_products_that_pass(condition: Filter, rows: list[int]) -> None:
    check_filter(condition, COLUMNS.kinds)
    mask = evaluate(condition, COLUMNS)
    assert mask.dtype == np.bool_ and np.flatnonzero(mask).tolist() == rows


def test_a_field_that_a_segment_lacks_is_missing_in_each_of_its_products() -> None:
    assert evaluate(Exists("elsewhere"), COLUMNS).tolist() == [False] * 4
    assert evaluate(Not(Equal("elsewhere", "x")), COLUMNS).tolist() == [True] * 4


def test_sparse_and_dense_sets_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    sets = [tuple(f"v{i}" for i in rng.choice(30, rng.integers(0, 4), replace=False)) for _ in range(200)]
    columns = make_columns({"a": [[], *sets]})
    for share in (0.0, 1.1):
        monkeypatch.setattr(masks, "_DENSE_SHARE", share)
        mask = evaluate(OneOf("a", ("v3", "v7")), columns)
        assert mask.tolist() == [False, *(bool({"v3", "v7"} & set(values)) for values in sets)]


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (Equal("bramd", "x"), "filter.equal.field: 'bramd' is no field of this catalog; did you mean 'brand'?"),
        (Exists("zzzz"), "filter.exists: 'zzzz' is no field of this catalog"),
        (
            Equal("brand", 5.0),
            "filter.equal.value: 'brand' holds text; send text (a number in quotes is text)",
        ),
        (
            And((Exists("brand"), OneOf("price", (5, "x")))),
            "filter.all_of.filters[1].one_of.values[1]: 'price' holds amounts of money; send a number",
        ),
        (Equal("price", True), "filter.equal.value: 'price' holds amounts of money; send a number"),
        (Range("brand", at_least=1), "filter.range: 'brand' holds text; a range needs numbers"),
        (
            Range("attributes.Added", below="soon"),
            "filter.range.below: 'attributes.Added' holds dates; send a date such as 2026-01-31",
        ),
        (
            Equal("attributes.Added", 2026),
            "filter.equal.value: 'attributes.Added' holds dates; send a date such as 2026-01-31",
        ),
        (
            Equal("attributes.Cordless", "yes"),
            "filter.equal.value: 'attributes.Cordless' holds true or false; send true or false",
        ),
        (
            Equal("description", "x"),
            "filter.equal.value: 'description' holds long text, of which only `exists` can be asked",
        ),
    ],
)
def test_what_a_catalog_cannot_apply_is_named(condition: Filter, problem: str) -> None:
    with pytest.raises(InvalidFilter) as error:
        check_filter(condition, COLUMNS.kinds)
    assert str(error.value) == problem


def test_every_problem_is_named_and_a_release_without_columns_says_what_to_do() -> None:
    wrong = And((Equal("a", 1), Equal("b", 1)))
    assert [p.path for p in filter_problems(wrong, COLUMNS.kinds)] == [
        f"filter.all_of.filters[{i}].equal.field" for i in range(2)
    ]
    (problem,) = filter_problems(wrong, None)
    assert str(problem) == ("filter: this release has no typed columns; index the catalog again with `tandem index`")


def test_masks_are_kept_up_to_a_bound_of_bytes() -> None:
    numbers = count()

    def compute(_: Filter) -> np.ndarray:
        next(numbers)
        return np.ones(1000, np.bool_)

    cache = MaskCache(3000)
    first = cache.fetch(Exists("a"), compute)
    assert cache.fetch(Exists("a"), compute) is first and next(numbers) == 1 and not first.flags.writeable
    for name in "bcd":
        cache.fetch(Exists(name), compute)
    assert cache.size <= 3000 and cache.fetch(Exists("a"), compute) is not first
    assert MaskCache(10).fetch(Exists("a"), compute).all()
