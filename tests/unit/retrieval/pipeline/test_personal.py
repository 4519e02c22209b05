"""Searches that lean towards the shopper. Product i is at the angle of i degrees, and so is a query of number i."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recommendations import Tower, ids, make_shop

from core.plan import Plan
from engine.cache import Caches
from retrieval.listing.spec import ListingSpec
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.recommend.user import Action, User, UserEvent
from retrieval.release.loaded import LoadedRelease
from retrieval.release.models import CachedModels
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

LIKES_HIGH = User(events=(UserEvent("p50", None, Action.purchase),))


@pytest.fixture
def shop(tmp_path: Path) -> LoadedRelease:
    return make_shop(tmp_path, tower=Tower())


async def ask(release: LoadedRelease, user: User | None, strength: float = 0.5, **query: Any) -> SearchResult:
    asked = Query("30 shirts", user=user, **query)
    return await search(asked, Plan(personalisation=strength, candidates=40), release, Permit(), None)


async def test_without_a_user_or_a_strength_nothing_changes(shop: LoadedRelease) -> None:
    plain = await ask(shop, None)
    assert ids(plain)[:3] == ["p30", "p29", "p31"] and plain.person is None
    off = await ask(shop, LIKES_HIGH, strength=0)
    assert off.hits == plain.hits and off.person and off.person.reason == "the plan allows no shift"
    asked_off = await ask(shop, User(LIKES_HIGH.user_id, LIKES_HIGH.events, strength=0.0))
    assert asked_off.hits == plain.hits and asked_off.person and asked_off.person.reason == "no shift was asked for"


async def test_products_close_to_the_shopper_rise_and_the_answer_reports_the_strength(shop: LoadedRelease) -> None:
    plain, shifted = await ask(shop, None), await ask(shop, LIKES_HIGH)
    rows = [hit.row for hit in shifted.hits]
    assert np.mean(rows) > np.mean([hit.row for hit in plain.hits])
    assert rows[0] > 30
    assert shifted.person and (shifted.person.strength, shifted.person.products) == (0.5, 1)
    assert [hit.score for hit in shifted.hits] == sorted((hit.score for hit in shifted.hits), reverse=True)


async def test_the_shift_is_bounded_by_deviations_of_the_scores(shop: LoadedRelease) -> None:
    whole = await ask(shop, None, top_k=40)
    before = {hit.row: hit.score for hit in whole.hits}
    deviation = np.std(list(before.values()))
    for strength in (0.1, 0.5, 1.0):
        shifted = await ask(shop, LIKES_HIGH, strength, top_k=40)
        moves = np.array([hit.score - before[hit.row] for hit in shifted.hits])
        assert set(before) == {hit.row for hit in shifted.hits}  # what matches stays
        assert np.abs(moves).max() <= strength * deviation * 1.001 and np.abs(moves).max() > 0.3 * strength * deviation


async def test_the_plan_bounds_what_a_request_asks(shop: LoadedRelease) -> None:
    keen = User(LIKES_HIGH.user_id, LIKES_HIGH.events, strength=1.0)
    assert (await ask(shop, keen, 0.25)).person.strength == 0.25  # type: ignore[union-attr]
    shy = User(LIKES_HIGH.user_id, LIKES_HIGH.events, strength=0.1)
    assert (await ask(shop, shy, 0.25)).person.strength == pytest.approx(0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("events", "listing", "reason"),
    [
        ((), {}, "no product of the shopper's is in the catalog"),
        ((UserEvent("nothing"),), {}, "no product of the shopper's is in the catalog"),
    ],
)
async def test_why_nothing_was_shifted_is_stated(
    shop: LoadedRelease, events: tuple[UserEvent, ...], listing: dict[str, Any], reason: str
) -> None:
    plain, result = await ask(shop, None), await ask(shop, User(events=events), **listing)
    assert result.person and result.person.reason == reason and result.person.strength == 0
    assert result.hits == plain.hits


async def test_a_tower_that_fails_leaves_the_search_as_it_was(tmp_path: Path) -> None:
    release = make_shop(tmp_path, tower=Tower(broken=True))
    plain, result = await ask(release, None), await ask(release, LIKES_HIGH)
    assert result.hits == plain.hits and result.person and result.person.strength == 0
    assert [entry.reason for entry in result.degraded] == ["SOURCE_FAILED"]


async def test_caches_hold_the_query_and_nothing_of_the_shopper(shop: LoadedRelease) -> None:
    caches = Caches.with_limits(1 << 20, 1 << 20, 1 << 20)
    shop.models = CachedModels(shop.engine, caches)
    first = await ask(shop, None)
    sizes = [len(cache) for cache in (caches.vectors, caches.candidates, caches.scores)]
    shifted = await ask(shop, LIKES_HIGH)
    assert [len(cache) for cache in (caches.vectors, caches.candidates, caches.scores)] == sizes
    assert shifted.hits != first.hits
    assert (await ask(shop, None)).hits == first.hits


async def test_pages_keep_the_order_of_the_first_whatever_the_shopper_did_meanwhile(shop: LoadedRelease) -> None:
    listing = ListingSpec(count=True, digest=b"request ")
    first = await ask(shop, LIKES_HIGH, listing=listing)
    plain = await ask(shop, None, listing=listing)
    assert first.total == plain.total and ids(first) != ids(plain)
    token = ListingSpec(count=True, digest=b"request ", page_token=first.next_page_token)
    later = await ask(shop, User(events=(UserEvent("p1"),)), listing=token)
    assert not set(ids(later)) & set(ids(first)) and later.total == first.total
    assert later.person and later.person.reason == "the order of a further page is the first's"
