"""What users of other engines reported of hybrid lists, each as it has to be here."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from listings import Item, answer, make_shop, matching_rows, pages, rows_of_hits

from catalog.columns import Kind, make_columns
from catalog.view import CatalogView
from core.filters import And, Equal, Exists, Not, OneOf, Range
from engine.protocol import EngineError
from retrieval.listing.page_token import decode_token, encode_token
from retrieval.listing.spec import Cap, Diversity, FacetSpec, GroupSpec, ListingSpec, SortKey
from retrieval.pipeline.lexical import LexicalFailed
from retrieval.pipeline.result import LEXICAL_FAILED, Total
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.effects import Boost, Bury, Pin, RuleEffects, RuleReport
from retrieval.wire.violations import InvalidRequest

_COUNTED = ListingSpec(count=True)
Shop = tuple[LoadedRelease, list[Item]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


async def test_totals_and_facets_count_what_matches_and_not_the_whole_index(shop: Shop) -> None:
    release, products = shop
    listing = ListingSpec(count=True, facets=(FacetSpec("brand"), FacetSpec("product_type")))
    result = await answer(release, "red drill", listing)
    rows = matching_rows(products, "red drill")
    assert result.total is not None and result.total.exact and result.total.value == len(rows) < len(products)
    brands, types = result.facets
    assert dict(brands.values) == Counter(products[row].brand for row in rows if products[row].brand)
    assert brands.missing == sum(products[row].brand is None for row in rows)
    assert dict(types.values) == Counter(level for row in rows for level in products[row].type_levels)


async def test_a_total_does_not_change_between_pages_nor_with_their_size(shop: Shop) -> None:
    release, products = shop
    for sizes in ([10], [1, 30], [200]):
        results = await pages(release, "blue saw", _COUNTED, sizes=sizes)
        assert {result.total.value for result in results if result.total} == {len(matching_rows(products, "blue saw"))}
        assert [result.offset for result in results] == [
            sum(len(earlier.hits) for earlier in results[:number]) for number in range(len(results))
        ]


async def test_paging_to_the_end_returns_every_match_once(shop: Shop) -> None:
    release, products = shop
    rows = rows_of_hits(*await pages(release, "green lamp", _COUNTED, sizes=[7, 23]))
    assert len(rows) == len(set(rows)) and set(rows) == matching_rows(products, "green lamp")


async def test_a_total_is_not_the_number_of_neighbours(shop: Shop) -> None:
    """Words match more than the nearest vectors; what is counted does not hang on top_k."""
    release, products = shop
    totals = [(await answer(release, "red", _COUNTED, top_k=k)).total for k in (1, 10, 100)]
    assert {total.value for total in totals if total} == {len(matching_rows(products, "red"))} != {100}


async def test_facets_of_products_found_by_vectors_alone_are_right(shop: Shop) -> None:
    release, products = shop
    result = await answer(release, "50 zzz", ListingSpec(facets=(FacetSpec("brand", 1),)))
    rows = range(50, 150)
    [brand] = result.facets
    counts = Counter(products[row].brand for row in rows if products[row].brand)
    best = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[0]
    assert brand.values == [best] and brand.more_values == len(counts) - 1
    assert result.total is not None and result.total.value == 100


async def test_a_facet_s_count_is_the_total_of_its_value(shop: Shop) -> None:
    release, _ = shop
    base = Range("price", at_most=120.0)
    listing = ListingSpec(facets=(FacetSpec("brand"), FacetSpec("in_stock")))
    result = await answer(release, "red drill", listing, base)
    for facet, kind in zip(result.facets, (str, lambda text: text == "true"), strict=True):
        for value, count in facet.values:
            chosen = await answer(release, "red drill", _COUNTED, And((base, Equal(facet.field, kind(value)))))
            assert chosen.total is not None and chosen.total.value == count


async def test_a_choice_of_several_values_needs_one_request(shop: Shop) -> None:
    release, products = shop
    filter = And((OneOf("brand", ("Acme", "Bolt")), Equal("in_stock", True)))
    listing = ListingSpec(facets=(FacetSpec("brand", exclude_own_filter=True), FacetSpec("brand")))
    result = await answer(release, "red drill", listing, filter)
    everyone, chosen = result.facets
    stocked = [products[row] for row in matching_rows(products, "red drill") if products[row].stock]
    assert dict(everyone.values) == Counter(item.brand for item in stocked if item.brand)
    assert dict(chosen.values) == {b: n for b, n in everyone.values if b in ("Acme", "Bolt")}
    assert result.total is not None and result.total.value == sum(count for _, count in chosen.values)


async def test_groups_are_paged_each_once_and_counted(shop: Shop) -> None:
    release, products = shop
    listing = ListingSpec(group=GroupSpec(variants=20), facets=(FacetSpec("brand"),))
    results = await pages(release, "red drill", listing, sizes=[7])
    matching = [products[row] for row in matching_rows(products, "red drill")]
    groups = {item.group or item.id for item in matching}
    shown = [products[hit.row].group or products[hit.row].id for result in results for hit in result.hits]
    assert len(shown) == len(set(shown)) and set(shown) == groups
    assert {result.groups.value for result in results if result.groups} == {len(groups)}
    for result in results:
        for hit in result.hits:
            assert hit.group is not None
            members = {
                item.row for item in matching if (item.group or item.id) == (products[hit.row].group or f"p{hit.row}")
            }
            assert {hit.row, *(variant.row for variant in hit.group.variants)} == members
            assert hit.group.size == len(members)
    brands = {
        brand: {item.group or item.id for item in matching if item.brand == brand} for brand in ("Acme", "Bolt", "Core")
    }
    assert dict(results[0].facets[0].values) == {brand: len(names) for brand, names in brands.items() if names}


async def test_pins_survive_rescoring_and_obey_filters(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release, products = shop
    effects = RuleEffects(pins=(Pin(2, "p399", "autumn"), Pin(5, "p395", "autumn")), digest="x")
    with_rules(release, effects, monkeypatch)
    plain = await answer(release, "red drill")
    assert plain.hits[1].row == 399 and plain.hits[4].row == 395 and plain.hits[1].moves == ("pin:autumn",)
    results = await pages(release, "red drill", _COUNTED, sizes=[3])
    rows = rows_of_hits(*results)
    assert rows[1] == 399 and rows[4] == 395 and len(rows) == len(set(rows))
    assert results[0].total is not None and results[0].total.value == len(
        matching_rows(products, "red drill") | {399, 395}
    )
    stocked = rows_of_hits(*await pages(release, "red drill", _COUNTED, Equal("in_stock", True)))
    assert 395 not in stocked and stocked[1] == 399


async def test_only_pins_that_took_effect_are_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release, _ = shop
    pins = (Pin(2, "p399", "autumn"), Pin(3, "p395", "winter"), Pin(4, "unknown", "autumn"))
    reports = (
        RuleReport("autumn", "pin", "p399 at 2, unknown at 4"),
        RuleReport("winter", "pin", "p395 at 3"),
        RuleReport("autumn", "redirect", "/autumn"),
    )
    with_rules(release, RuleEffects(pins=pins, reports=reports, digest="z"), monkeypatch)
    result = await answer(release, "red drill", filter=Equal("in_stock", True))
    assert result.rules == (RuleReport("autumn", "pin", "p399 at 2"), RuleReport("autumn", "redirect", "/autumn"))


async def test_buried_products_come_last_and_boosted_ones_rise(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release, products = shop
    before = rows_of_hits(*await pages(release, "red drill", _COUNTED))
    buried = Bury("clearance", frozenset({f"p{before[0]}"}), None)
    boosted = Boost("own", frozenset(), Equal("brand", "Core"), 4.0)
    with_rules(release, RuleEffects(buried=(buried,), boosts=(boosted,), digest="y"), monkeypatch)
    results = await pages(release, "red drill", _COUNTED)
    after = rows_of_hits(*results)
    assert set(after) == set(before) and after[-1] == before[0]
    assert results[-1].hits[-1].moves == ("bury:clearance",) or "bury:clearance" in results[-1].hits[-1].moves
    core = [row for row in before[1:] if products[row].brand == "Core"]
    assert all(after.index(row) <= before.index(row) for row in core[:5])


async def test_caps_bound_the_first_fifty_and_lose_nothing(shop: Shop) -> None:
    release, products = shop
    diversity = Diversity(caps=(Cap("brand", 12),))
    rows = rows_of_hits(*await pages(release, "red drill", ListingSpec(count=True, diversity=diversity), sizes=[9]))
    free = rows_of_hits(*await pages(release, "red drill", _COUNTED))
    assert sorted(rows) == sorted(free)
    assert max(Counter(products[row].brand for row in rows[:50] if products[row].brand).values()) <= 12


async def test_vectors_that_are_alike_are_spread(shop: Shop) -> None:
    """The fake engine's vectors repeat every four rows: with full strength the first four hits are all different."""
    release, _ = shop
    filter = OneOf("id", ("p0", "p4", "p8", "p1", "p5", "p2"))
    relevant = rows_of_hits(await answer(release, "0 zzz", filter=filter))
    result = await answer(release, "0 zzz", ListingSpec(diversity=Diversity(strength=1.0)), filter)
    spread = rows_of_hits(result)
    assert sorted(spread) == sorted(relevant) and len({row % 4 for row in spread[:3]}) == 3
    for hit, before in zip(result.hits, relevant, strict=True):
        assert ("diversity" in hit.moves) == (hit.row != before)
    assert spread != relevant


async def test_sorting_is_over_everything_that_matches(shop: Shop) -> None:
    release, products = shop
    for descending in (False, True):
        listing = ListingSpec(sort=(SortKey("price", descending),))
        rows = rows_of_hits(*await pages(release, "red drill", listing, sizes=[13]))
        assert set(rows) == matching_rows(products, "red drill") and len(rows) == len(set(rows))
        prices = [products[row].price for row in rows]
        known = [price for price in prices if price is not None]
        assert known == sorted(known, reverse=descending) and prices[len(known) :] == [None] * (len(rows) - len(known))


async def test_no_hit_ever_fails_the_filter(shop: Shop) -> None:
    release, products = shop
    filter = And((Not(Equal("brand", "Acme")), Exists("item_group_id"), Range("price", above=50.0)))
    for listing in (ListingSpec(), _COUNTED, ListingSpec(match_all=True), ListingSpec(group=GroupSpec(variants=3))):
        result = await answer(release, "red drill", listing, filter, top_k=200)
        assert result.hits
        for hit in result.hits:
            item = products[hit.row]
            assert item.brand != "Acme" and item.group and item.price is not None and item.price > 50
        assert result.filter is not None and result.filter_violations == 0
        assert result.filter.passing == sum(
            item.brand != "Acme" and item.group is not None and item.price is not None and item.price > 50
            for item in products
        )


async def test_a_plain_request_with_a_narrow_filter_still_fills_its_answer(shop: Shop) -> None:
    """Far from the query, and without its words."""
    release, _ = shop
    filter = OneOf("id", ("p390", "p391", "p392"))
    result = await answer(release, "0 zzz", filter=filter)
    assert sorted(rows_of_hits(result)) == [390, 391, 392]
    everything = await answer(release, "0 zzz", ListingSpec(match_all=True), filter)
    assert sorted(rows_of_hits(everything)) == [390, 391, 392]
    assert everything.total is not None and everything.total.value == 3
    matching = await answer(release, "0 zzz", _COUNTED, filter)
    assert matching.hits == [] and matching.total is not None and matching.total.value == 0


def with_rules(release: LoadedRelease, effects: RuleEffects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives every request these effects."""

    async def apply(context, match, rewrite) -> None:
        context.rules, context.result.rules = effects, effects.reports

    monkeypatch.setattr("retrieval.pipeline.understand.apply_rules", apply)


async def test_the_size_of_pages_does_not_change_the_order(shop: Shop) -> None:
    """More hits than the plan has candidates: no page makes the ranked beginning longer."""
    release, _ = shop
    whole = rows_of_hits(*await pages(release, "red drill", ListingSpec(match_all=True), sizes=[200]))
    for sizes in ([10], [150, 50]):
        assert rows_of_hits(*await pages(release, "red drill", ListingSpec(match_all=True), sizes=sizes)) == whole


async def test_a_facet_without_its_own_filter_counts_pins_that_the_filter_excludes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, products = shop
    listing = ListingSpec(count=True, facets=(FacetSpec("brand", exclude_own_filter=True),))
    matching = {
        hit
        for brand in ("Acme", "Bolt", "Core")
        for hit in rows_of_hits(*await pages(release, "red drill", _COUNTED, Equal("brand", brand)))
    }
    pinned = next(item for item in products if item.brand == "Bolt" and item.row not in matching)
    with_rules(release, RuleEffects(pins=(Pin(1, pinned.id, "autumn"),), digest="x"), monkeypatch)
    [facet] = (await answer(release, "red drill", listing, Equal("brand", "Acme"))).facets
    for brand, count in facet.values:
        total = (await answer(release, "red drill", _COUNTED, Equal("brand", brand))).total
        assert total is not None and total.value == count


async def test_groups_and_caps_of_long_text_are_refused(shop: Shop) -> None:
    release, products = shop
    table = release.view.base
    typed = make_columns(
        {"note": ["text"] * len(products), "price": [item.price for item in products]},
        {"note": Kind.text, "price": Kind.money},
    )
    release.view = CatalogView(replace(table, columns=typed))
    for listing, path in [
        (ListingSpec(group=GroupSpec("note")), "group_by.field"),
        (ListingSpec(diversity=Diversity(caps=(Cap("note", 1),))), "diversity.caps[0].field"),
    ]:
        with pytest.raises(InvalidRequest) as error:
            await answer(release, "red drill", listing)
        assert [one.field for one in error.value.violations] == [path]
    result = await answer(release, "red drill", ListingSpec(group=GroupSpec("price")))
    for hit in result.hits:
        assert hit.group is not None
        price = products[hit.row].price
        assert hit.group.value == ("" if price is None else str(price))


async def test_pages_of_a_list_that_words_had_no_part_in_go_on_without_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, _ = shop
    dense = {(7 + place) % len(shop[1]) for place in range(100)}

    async def fail(*_: object) -> None:
        raise LexicalFailed("the index is gone")

    with monkeypatch.context() as patched:
        patched.setattr(release.words, "search", fail)
        first = await answer(release, "7 red drill", _COUNTED)
    assert first.total == Total(100, exact=False) and [entry.reason for entry in first.degraded] == [LEXICAL_FAILED]
    results = [first]
    while token := results[-1].next_page_token:
        results.append(await answer(release, "7 red drill", ListingSpec(count=True, page_token=token)))
        assert results[-1].total == first.total
        assert [entry.reason for entry in results[-1].degraded] == [LEXICAL_FAILED]
    rows = rows_of_hits(*results)
    assert len(rows) == 100 and set(rows) == dense


@pytest.mark.parametrize("call", ["encode", "retrieve"])
async def test_a_page_without_a_source_of_the_first_is_refused_and_can_be_asked_again(shop: Shop, call: str) -> None:
    release, _ = shop
    first, second, *_ = await pages(release, "7 red drill", _COUNTED)
    release.engine.broken.add(call)
    listing = ListingSpec(count=True, page_token=first.next_page_token)
    with pytest.raises(EngineError, match="not available"):
        await answer(release, "7 red drill", listing)
    release.engine.broken.clear()
    assert rows_of_hits(await answer(release, "7 red drill", listing)) == rows_of_hits(second)


async def test_spelling_that_came_too_late_for_the_first_page_changes_no_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, _ = shop
    late = [True]

    async def correct(text: str, view: object) -> str:
        if late[0]:
            raise LexicalFailed("too late")
        return text.replace("lampp", "red")

    monkeypatch.setattr(release.words, "correct_spelling", correct)
    first = await answer(release, "blue lampp", _COUNTED)
    late[0] = False
    listing = ListingSpec(count=True, page_token=first.next_page_token)
    second = await answer(release, "blue lampp", listing)
    assert second.total == first.total and second.searched_query == first.searched_query == ""
    corrected = await answer(release, "blue lampp", _COUNTED)
    assert corrected.searched_query == "blue red" and rows_of_hits(corrected) != rows_of_hits(first)
    late[0] = True
    listing = ListingSpec(count=True, page_token=corrected.next_page_token)
    with pytest.raises(EngineError, match="cannot be read as for the first page"):
        await answer(release, "blue lampp", listing)


async def test_what_a_source_returns_against_the_filter_is_removed_and_counted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, products = shop
    whole = release.engine.retrieve

    async def careless(vectors, k, deadline, view=None, selection=None, exact=False):
        return await whole(vectors, k, deadline, view, None, exact)

    monkeypatch.setattr(release.engine, "retrieve", careless)
    result = await answer(release, "7 zzz", filter=Equal("in_stock", True), top_k=100)
    assert result.hits and all(products[hit.row].stock for hit in result.hits)
    assert result.filter_violations > 0


async def test_an_approximate_total_says_so(shop: Shop) -> None:
    release, _ = shop
    listing = ListingSpec(approximate=True)
    exact = await answer(release, "red drill", listing)
    assert exact.total is not None and exact.total.exact, "the index of this release is exact"
    release.manifest.snapshot.index["kind"] = "ivf_sq8"
    approximate = await answer(release, "red drill", listing)
    assert approximate.total is not None and not approximate.total.exact
    counted = await answer(release, "red drill", _COUNTED)
    assert counted.total is not None and counted.total.exact, "an exact total is searched exactly"


async def test_a_token_with_a_product_twice_lists_it_once(shop: Shop) -> None:
    release, products = shop
    first = await answer(release, "red drill", _COUNTED)
    token = decode_token(first.next_page_token)
    outside = next(item.row for item in products if item.row not in matching_rows(products, "red drill"))
    forged = replace(token, offset=0, products=np.array([7, 7, outside, 9], np.uint32), scores=np.ones(4, np.float32))
    listing = ListingSpec(count=True, page_token=encode_token(forged))
    rows = rows_of_hits(await answer(release, "red drill", listing, top_k=200))
    assert rows[:2] == [7, 9] and len(rows) == len(set(rows)) and outside not in rows


async def test_hits_that_cannot_be_spread_stay_in_their_order(shop: Shop) -> None:
    release, _ = shop
    plain = rows_of_hits(await answer(release, "7 zzz"))
    release.engine.broken.add("vectors")
    result = await answer(release, "7 zzz", ListingSpec(diversity=Diversity(strength=1.0)))
    assert rows_of_hits(result) == plain
    assert [(entry.reason, "not spread" in entry.detail) for entry in result.degraded] == [("DENSE_FAILED", True)]


async def test_a_page_under_other_rules_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release, _ = shop
    with_rules(release, RuleEffects(pins=(Pin(2, "p399", "autumn"),), digest="autumn"), monkeypatch)
    first = await answer(release, "red drill", _COUNTED)
    listing = ListingSpec(count=True, page_token=first.next_page_token)
    assert (await answer(release, "red drill", listing)).hits
    with_rules(release, RuleEffects(pins=(Pin(2, "p398", "winter"),), digest="winter"), monkeypatch)
    with pytest.raises(InvalidRequest, match="merchandising rules that were replaced"):
        await answer(release, "red drill", listing)
