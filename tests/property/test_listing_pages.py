"""Random requests through the whole pipeline, each paged to the end: what is listed, counted and promised agrees."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from listings import Item, answer, items, make_shop, matching_rows, pages, rows_of_hits

from core.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Range
from retrieval.listing.spec import Cap, Diversity, FacetSpec, GroupSpec, ListingSpec, SortKey
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.effects import Bury, Pin, RuleEffects

_COUNT = 150
_SHOP = items(_COUNT)
_FIELDS = {
    "brand": lambda item: [item.brand] if item.brand else [],
    "product_type": lambda item: list(item.type_levels),
    "price": lambda item: [] if item.price is None else [item.price],
    "in_stock": lambda item: [item.stock],
    "item_group_id": lambda item: [item.group] if item.group else [],
}

conditions = st.one_of(
    st.builds(Equal, st.just("brand"), st.sampled_from(["Acme", "Bolt", "Core", "None of them"])),
    st.builds(Equal, st.just("in_stock"), st.booleans()),
    st.builds(OneOf, st.just("product_type"), st.sampled_from([("Home",), ("Home > Drill", "Home > Saw")])),
    st.builds(Range, st.just("price"), at_least=st.sampled_from([None, 0.99, 60.0]), below=st.just(150.0)),
    st.builds(Exists, st.sampled_from(["brand", "price", "item_group_id"])),
)
filters = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=4,
)
sorting = st.lists(st.builds(SortKey, st.sampled_from(["price", "brand", "in_stock"]), st.booleans()), max_size=2)
listings = st.builds(
    ListingSpec,
    facets=st.just((FacetSpec("brand"), FacetSpec("product_type", 50), FacetSpec("in_stock"))),
    sort=sorting.map(tuple),
    group=st.none() | st.builds(GroupSpec, variants=st.integers(0, 3)),
    diversity=st.builds(
        Diversity,
        st.sampled_from([0.0, 0.0, 0.5]),
        st.lists(st.builds(Cap, st.sampled_from(["brand", "in_stock"]), st.integers(1, 30)), max_size=1).map(tuple),
    ),
    count=st.just(True),
    match_all=st.booleans(),
)


def passes(item: Item, filter: Filter | None) -> bool:
    """Whether a product passes, one condition after the other."""
    match filter:
        case None:
            return True
        case Equal(name, value):
            return value in _FIELDS[name](item)
        case OneOf(name, values):
            return any(value in _FIELDS[name](item) for value in values)
        case Range(name):
            own = _FIELDS[name](item)
            low = filter.at_least if filter.at_least is not None else -1.0
            return bool(own) and low <= own[0] < filter.below  # type: ignore[operator]
        case Exists(name):
            return bool(_FIELDS[name](item))
        case Not(inner):
            return not passes(item, inner)
        case And(parts):
            return all(passes(item, part) for part in parts)
        case Or(parts):
            return any(passes(item, part) for part in parts)
    raise AssertionError(filter)


def matching(query: str, listing: ListingSpec, filter: Filter | None, pins: tuple[Pin, ...]) -> list[Item]:
    """What matches by the definition of the contract."""
    rows = matching_rows(_SHOP, query)
    pinned = set() if listing.sort else {int(pin.product_id[1:]) for pin in pins}
    return [item for item in _SHOP if passes(item, filter) and (listing.match_all or item.row in rows | pinned)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedRelease]:
    release, _ = make_shop(tmp_path_factory.mktemp("shop"), _COUNT)
    yield release


@settings(
    max_examples=120,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["red drill", "blue saw", "lamp", "149 zzz"]),
    listings,
    st.none() | filters,
    st.sets(st.integers(0, _COUNT - 1), max_size=3),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
def test_pages_totals_facets_and_groups_agree(
    shop: LoadedRelease, query: str, listing: ListingSpec, filter: Filter | None, pinned: set[int], sizes: list[int]
) -> None:
    if listing.sort:
        listing = replace(listing, diversity=Diversity())
    pins = tuple(Pin(2 * place + 1, f"p{row}", "rule") for place, row in enumerate(sorted(pinned)))
    burial = Bury("rule", frozenset(), Equal("brand", "Bolt"))
    effects = RuleEffects(pins=pins, buried=(burial,), digest="rule") if pinned else RuleEffects()
    with pytest.MonkeyPatch.context() as patch:

        async def apply(context, match, rewrite) -> None:
            context.rules = effects

        patch.setattr("retrieval.pipeline.understand.apply_rules", apply)
        results = asyncio.run(pages(shop, query, listing, filter, sizes))
        whole = asyncio.run(answer(shop, query, listing, filter, 200))
    expected = matching(query, listing, filter, pins)
    rows = rows_of_hits(*results)
    assert rows == rows_of_hits(whole), "the size of pages changes nothing"
    names = [_SHOP[row].group or f"p{row}" if listing.group else f"p{row}" for row in rows]
    wanted = {item.group or item.id if listing.group else item.id for item in expected}
    assert len(names) == len(set(names)) and set(names) == wanted
    for result in results:
        assert result.total is not None and (result.total.value, result.total.exact) == (len(expected), True)
        assert (result.groups is None) == (listing.group is None)
        assert result.groups is None or result.groups.value == len(wanted)
        for facet in result.facets:
            holders: Counter = Counter()
            for value in {v for item in expected for v in _FIELDS[facet.field](item)}:
                having = [item for item in expected if value in _FIELDS[facet.field](item)]
                holders[str(value).lower() if facet.field == "in_stock" else value] = len(
                    {item.group or item.id if listing.group else item.id for item in having}
                )
            assert dict(facet.values) == dict(holders)
    if not listing.sort:
        present = {item.row for item in expected}
        for pin in pins:
            row = int(pin.product_id[1:])
            if row in present and not listing.group and pin.place <= len(rows):
                assert rows.index(row) <= pin.place - 1
