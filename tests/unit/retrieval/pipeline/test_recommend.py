"""Lists of recommendations: sources, cold paths, failures, pages, filters, exploration. Expected lists are worked out
by hand: product i is at the angle of i degrees, and is the more popular the lower its number."""

import asyncio
import dataclasses
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recommendations import BEHAVIOUR, COUNT, POPULAR, Tower, angle, ask, ids, make_rows, make_shop, segment_of, user

from catalog.popularity import PopularityScale
from catalog.view import CatalogView
from core.filter_text import parse_filter
from core.filters import Equal, Not, OneOf
from core.plan import Plan
from core.rules import RulesFile
from ranker.recommendation import Limits
from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.listing.spec import Cap, Diversity, FacetSpec, GroupSpec, ListingSpec, SortKey
from retrieval.pipeline.result import SearchResult
from retrieval.recommend.recommender import Recommender
from retrieval.recommend.user import Action, Relation, Subject, User
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.ruleset import RuleSet
from retrieval.wire.violations import InvalidRequest

COUNTED = ListingSpec(count=True, digest=b"request ")


@pytest.fixture
def shop(tmp_path: Path) -> LoadedRelease:
    """Without behaviour."""
    return make_shop(tmp_path)


@pytest.fixture
def sold_shop(tmp_path: Path) -> LoadedRelease:
    """With behaviour of four products."""
    return make_shop(tmp_path, BEHAVIOUR, POPULAR)


def path(result: SearchResult) -> str:
    """How the list came about."""
    assert result.person is not None
    return result.person.path


async def test_without_a_subject_the_popular_products_come_in_the_order_of_popularity(shop: LoadedRelease) -> None:
    result = await ask(shop)
    assert ids(result) == [f"p{i}" for i in range(10)]
    assert path(result) == "POPULAR" and result.person and result.person.sources == ("popular",)


async def test_what_behaviour_knows_is_popular_before_what_the_feed_states(sold_shop: LoadedRelease) -> None:
    assert ids(await ask(sold_shop))[:6] == ["p40", "p41", "p7", "p42", "p0", "p1"]


@pytest.mark.parametrize(
    ("segments", "first"),
    [
        ({"age": "young"}, ["p42", "p40", "p41", "p7", "p0"]),
        ({"channel": "web"}, ["p7", "p40", "p41", "p42", "p0"]),
        ({"age": "old", "channel": "fax"}, ["p40", "p41", "p7", "p42", "p0"]),
    ],
)
async def test_popular_in_a_segment_or_channel_comes_before_popular_with_all(
    sold_shop: LoadedRelease, segments: dict[str, str], first: list[str]
) -> None:
    assert ids(await ask(sold_shop, Subject(segments=segments)))[:5] == first
    anonymous = await ask(sold_shop, Subject(user=User(segments=segments)))
    assert ids(anonymous)[:5] == first and path(anonymous) == "UNKNOWN_USER"


async def test_similar_products_are_the_nearest_and_not_the_product_itself(sold_shop: LoadedRelease) -> None:
    result = await ask(sold_shop, Subject(product_id="p30"), top_k=4)
    assert ids(result) == ["p29", "p31", "p28", "p32"]
    assert path(result) == "NEW_PRODUCT"  # nobody bought it yet
    assert path(await ask(sold_shop, Subject(product_id="p40"))) == "PRODUCT"


async def test_what_is_bought_together_comes_before_similar_products(sold_shop: LoadedRelease) -> None:
    subject = Subject(product_id="p40", relation=Relation.bought_together)
    result = await ask(sold_shop, subject, top_k=5)
    assert ids(result) == ["p7", "p41", "p39", "p38", "p42"]  # then by likeness
    assert path(result) == "PRODUCT"
    alone = await ask(sold_shop, Subject(product_id="p30", relation=Relation.bought_together), top_k=2)
    assert ids(alone) == ["p29", "p31"] and path(alone) == "NEW_PRODUCT"


async def test_an_unknown_product_is_answered_by_what_is_popular(sold_shop: LoadedRelease) -> None:
    for relation in Relation:
        result = await ask(sold_shop, Subject(product_id="none", relation=relation), top_k=3)
        assert ids(result) == ["p40", "p41", "p7"] and path(result) == "UNKNOWN_PRODUCT"


async def test_a_product_that_was_deleted_still_has_what_was_bought_with_it(sold_shop: LoadedRelease) -> None:
    deleted = np.arange(COUNT) == 40
    sold_shop.view = CatalogView(sold_shop.view.base, (), deleted, revision=1)
    result = await ask(sold_shop, Subject(product_id="p40", relation=Relation.bought_together), top_k=2)
    assert ids(result) == ["p7", "p41"] and path(result) == "PRODUCT"
    assert path(await ask(sold_shop, Subject(product_id="p40"))) == "UNKNOWN_PRODUCT"


@pytest.mark.parametrize(
    ("products", "way", "used", "unknown"),
    [
        ((), "UNKNOWN_USER", 0, 0),
        (("x1", "x2"), "UNKNOWN_USER", 0, 2),
        (("p40",), "ONE_PRODUCT", 1, 0),
        (("p40", "x1"), "ONE_PRODUCT", 1, 1),
        (("p40", "p30"), "HISTORY", 2, 0),
    ],
)
async def test_each_cold_path_answers_and_states_which_it_took(
    sold_shop: LoadedRelease, products: tuple[str, ...], way: str, used: int, unknown: int
) -> None:
    result = await ask(sold_shop, user(*products))
    person = result.person
    assert person and (person.path, person.products, person.unknown) == (way, used, unknown)
    assert len(result.hits) == 10 and not result.degraded


async def test_a_history_is_answered_by_all_its_sources(sold_shop: LoadedRelease) -> None:
    result = await ask(sold_shop, user("p41", "p40"), top_k=6, explain=True)
    assert result.person and result.person.sources == (
        *("bought_together", "repurchase", "same_group", "similar", "popular"),
    )
    scores = {sold_shop.view.id(hit.row): {one.stage: one for one in hit.stage_scores} for hit in result.hits}
    # Bought together by turns: p40 (with p41) and p42 (after it), then p7, p41. Of group g13 (39, 40, 41) is p39.
    assert [name for name in scores if scores[name]["bought_together"].rank] == ["p40", "p41", "p42", "p7"]
    ranks = {name: scores[name]["bought_together"].rank for name in ("p40", "p42", "p7", "p41")}
    assert ranks == {"p40": 1, "p42": 2, "p7": 3, "p41": 4}
    assert scores["p39"]["same_group"].rank == 1 and "p39" in scores
    # By hand: weights 1 and 1.5 and .4 and .2 over 60 and the rank.
    expected = 1 / 61 + 1.5 / 62 + 0.4 / (60 + scores["p40"]["similar"].rank) + 0.2 / 61
    assert result.hits[0].score == pytest.approx(expected, rel=1e-5)
    shares = result.hits[0].contributions
    assert sum(share.contribution for share in shares) == pytest.approx(result.hits[0].score, rel=1e-5)
    assert [share.contribution for share in shares] == sorted((share.contribution for share in shares), reverse=True)


async def test_what_was_looked_at_is_not_taken_for_bought(sold_shop: LoadedRelease) -> None:
    result = await ask(sold_shop, user("p40", action=Action.view))
    assert result.person and "repurchase" not in result.person.sources


async def test_a_filter_holds_for_every_source_and_the_list_is_filled_all_the_same(sold_shop: LoadedRelease) -> None:
    red = Equal("color", "red")
    for subject in (Subject(), Subject(product_id="p40", relation=Relation.bought_together), user("p40", "p41")):
        result = await ask(sold_shop, subject, filter=red, top_k=60)
        rows = [hit.row for hit in result.hits]
        assert rows and all(row % 2 == 0 for row in rows) and len(set(rows)) == len(rows)
        assert len(rows) == 30 - (subject.product_id == "p40")
    few = await ask(sold_shop, user("p40"), filter=OneOf("id", ("p3", "p8")))
    assert set(ids(few)) == {"p3", "p8"}


@pytest.mark.parametrize("subject", [Subject(), Subject(product_id="p40"), user("p40", "p7")])
async def test_pages_follow_each_other_and_totals_are_exact_whatever_the_shopper_did_meanwhile(
    sold_shop: LoadedRelease, subject: Subject
) -> None:
    first = await ask(sold_shop, subject, COUNTED, top_k=7)
    seen, token, asked = ids(first), first.next_page_token, subject
    assert first.total and first.total.exact and first.total.value == COUNT - bool(subject.product_id)
    if subject.user:
        asked = user("p1", "p2", "p3")
    while token:
        page = await ask(sold_shop, asked, dataclasses.replace(COUNTED, page_token=token), top_k=9)
        assert page.total == first.total and page.offset == len(seen)
        seen += ids(page)
        token = page.next_page_token
    assert len(seen) == len(set(seen)) == first.total.value
    whole = await ask(sold_shop, subject, COUNTED, top_k=200)
    assert ids(whole) == seen


async def test_the_list_without_a_total_begins_as_the_list_with_one(sold_shop: LoadedRelease) -> None:
    for subject in (Subject(), Subject(product_id="p40"), user("p40", "p7")):
        assert ids(await ask(sold_shop, subject)) == ids(await ask(sold_shop, subject, COUNTED))


async def test_facets_groups_caps_and_sorting_are_those_of_the_listing(sold_shop: LoadedRelease) -> None:
    listing = ListingSpec(facets=(FacetSpec("color"),), group=GroupSpec(variants=1), digest=b"request ")
    result = await ask(sold_shop, user("p40"), listing, top_k=20)
    assert result.groups and result.groups.value == COUNT / 3
    assert result.facets[0].values == [("blue", 20), ("red", 20)]  # groups that have one
    assert len({hit.row // 3 for hit in result.hits}) == 20
    capped = await ask(sold_shop, Subject(), ListingSpec(diversity=Diversity(caps=(Cap("item_group_id", 1),))))
    assert len({hit.row // 3 for hit in capped.hits}) == 10
    by_price = await ask(sold_shop, user("p40"), ListingSpec(sort=(SortKey("price", True),), digest=b"request "), 3)
    assert ids(by_price) == ["p59", "p58", "p57"] and not by_price.person.sources  # type: ignore[union-attr]


async def test_rules_without_a_condition_on_the_query_apply(shop: LoadedRelease) -> None:
    rules = [
        {"id": "pin", "pin": [{"product": "p50", "place": 2}]},
        {"id": "red", "filter": 'color = "red"'},
        {"id": "mugs", "when": {"phrases": ["mug"]}, "pin": ["p59"]},
    ]
    shop.rules = RuleSet(RulesFile.model_validate({"format": 1, "rules": rules}), "en", parse_filter)
    result = await ask(shop, top_k=3)
    assert ids(result) == ["p0", "p50", "p2"]
    assert [report.rule_id for report in result.rules] == ["pin", "red"]


async def test_a_product_of_a_second_ago_is_similar_and_one_deleted_is_not(
    tmp_path: Path, sold_shop: LoadedRelease
) -> None:
    scale = PopularityScale(np.array([1000.0 - i for i in range(COUNT)]))
    (tmp_path / "fresh").mkdir()
    fresh = segment_of(tmp_path / "fresh", make_rows([30, 600]), "fresh", scale)  # p600 at 240 degrees
    deleted = np.arange(COUNT + 2) == 30
    deleted[29] = True
    sold_shop.view = CatalogView(sold_shop.view.base, (fresh,), deleted, revision=3)
    result = await ask(sold_shop, Subject(product_id="p31"), top_k=3)
    assert ids(result) == ["p32", "p30", "p33"] and result.hits[1].row == COUNT  # as near as p32, whose row is lower
    assert path(await ask(sold_shop, Subject(product_id="p600"))) == "NEW_PRODUCT"
    assert path(await ask(sold_shop, Subject(product_id="p29"))) == "UNKNOWN_PRODUCT"
    again = await ask(sold_shop, user("p600"), top_k=2)
    assert again.person and again.person.products == 1 and path(again) == "ONE_PRODUCT"
    total = await ask(sold_shop, listing=COUNTED, top_k=200)
    assert total.total and total.total.value == COUNT and len(set(ids(total))) == COUNT


async def test_behaviour_follows_a_product_into_a_fresh_segment(tmp_path: Path, sold_shop: LoadedRelease) -> None:
    (tmp_path / "fresh").mkdir()
    fresh = segment_of(tmp_path / "fresh", make_rows([7]), "fresh", PopularityScale(np.arange(3.0)))
    deleted = np.zeros(COUNT + 1, bool)
    deleted[7] = True
    sold_shop.view = CatalogView(sold_shop.view.base, (fresh,), deleted, revision=1)
    result = await ask(sold_shop, Subject(product_id="p40", relation=Relation.bought_together), top_k=2)
    assert ids(result) == ["p7", "p41"] and result.hits[0].row == COUNT
    assert ids(await ask(sold_shop))[:3] == ["p40", "p41", "p7"]


async def test_a_source_that_fails_is_left_out_and_named(tmp_path: Path) -> None:
    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, broken=("retrieve",))
    result = await ask(release, user("p41", "p40"))
    assert result.person and "similar" not in result.person.sources and "bought_together" in result.person.sources
    assert [(entry.reason, entry.detail) for entry in result.degraded] == [("SOURCE_FAILED", "similar failed")]
    alone = await ask(release, Subject(product_id="p30"))
    assert len(alone.hits) == 10 and alone.degraded[0].detail == "similar failed"


async def test_what_cannot_be_compared_loses_no_product(tmp_path: Path) -> None:
    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, broken=("score_rows",))
    plan = Plan(candidates=30)
    result = await ask(release, user("p41", "p40"), top_k=200, plan=plan)
    assert result.degraded[0].detail == "similar failed when its scores were compared"
    plain = await ask(
        make_shop(tmp_path / "b", BEHAVIOUR, POPULAR), user("p41", "p40"), top_k=200, plan=Plan(candidates=30)
    )
    assert ids(result) == ids(plain)  # ranks order, and these are there


async def test_vectors_that_cannot_be_read_leave_the_other_sources(tmp_path: Path) -> None:
    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, broken=("vectors",))
    result = await ask(release, user("p41", "p40"))
    assert len(result.hits) == 10 and [entry.reason for entry in result.degraded] == ["SOURCE_FAILED"]


async def test_the_user_tower_reads_the_history_and_brings_what_is_nearest(tmp_path: Path) -> None:
    tower = Tower(turn=10)
    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, tower)
    result = await ask(release, user("p41", "x", "p20"))
    assert result.person and result.person.sources[0] == "user_tower"
    best = min(result.hits, key=lambda hit: next(s.rank for s in hit.stage_scores if s.stage == "user_tower") or 99)
    assert release.view.id(best.row) == "p51"
    [history] = tower.histories
    assert history.items == pytest.approx(np.stack([angle(41), angle(20)]))
    assert history.actions is not None and history.actions.tolist() == [3, 3]


async def test_a_user_tower_that_fails_is_one_source_less(tmp_path: Path) -> None:
    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, Tower(broken=True))
    result = await ask(release, user("p41", "p20"))
    assert len(result.hits) == 10 and [entry.detail for entry in result.degraded] == ["user_tower failed"]
    assert "onnx" not in str(result.degraded)


class Learned:
    """An order by one feature, highest first; `limits` as the default."""

    def __init__(self, feature: str) -> None:
        self.spec = SimpleNamespace(limits=Limits(), prices="catalog")
        self._column = RECOMMENDATION_NAMES.index(feature)

    def scores(self, table: np.ndarray) -> np.ndarray:
        return np.nan_to_num(table[:, self._column], nan=-1.0)

    def contributions(self, table: np.ndarray) -> np.ndarray:
        result = np.zeros(table.shape, np.float32)
        result[:, self._column] = table[:, self._column]
        return result


async def test_a_learned_order_ranks_lists_for_shoppers_by_its_features(sold_shop: LoadedRelease) -> None:
    sold_shop.recommender.final = Learned("group_products")  # type: ignore[assignment]
    result = await ask(sold_shop, user("p41", "p31", "p40"), explain=True)
    # Of group g13: p39 has two others in the history, p40 and p41 one; of g10, p30 and p32 have one.
    assert ids(result)[:5] == ["p39", "p30", "p32", "p40", "p41"]
    assert [hit.score for hit in result.hits[:5]] == [2, 1, 1, 1, 1]
    assert [one.stage for one in result.hits[0].stage_scores][-2:] == ["fuse", "final"]
    assert [(one.feature, one.contribution) for one in result.hits[0].contributions] == [("group_products", 2.0)]
    sold_shop.recommender.final = Learned("popularity")  # type: ignore[assignment]
    assert ids(await ask(sold_shop, user("p1")))[:4] == ["p40", "p41", "p7", "p42"]
    beside = await ask(sold_shop, Subject(product_id="p30"), top_k=2)
    assert ids(beside) == ["p29", "p31"]  # which was not learned


async def test_a_learned_order_that_fails_leaves_the_order_of_the_sources(sold_shop: LoadedRelease) -> None:
    sold_shop.recommender.final = Learned("popularity")  # type: ignore[assignment]
    table, behaviour = sold_shop.view.base.table, sold_shop.recommender.behaviour
    order = sold_shop.recommender.final
    sold_shop.recommender = Recommender(table, behaviour, Tower(broken=True), order)  # type: ignore[arg-type]
    result = await ask(sold_shop, user("p41", "p40"))
    assert len(result.hits) == 10 and "the learned order failed" in result.degraded[-1].detail


async def test_nothing_of_a_shopper_stays_in_the_caches(tmp_path: Path) -> None:
    from engine.cache import Caches
    from retrieval.release.models import CachedModels

    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, Tower())
    caches = Caches.with_limits(1 << 20, 1 << 20, 1 << 20)
    release.models = CachedModels(release.engine, caches)
    await ask(release, user("p41", "p20"), COUNTED)
    assert [len(cache) for cache in (caches.vectors, caches.candidates, caches.scores)] == [0, 0, 0]


async def test_an_unknown_field_or_a_foreign_token_is_refused(shop: LoadedRelease) -> None:
    with pytest.raises(InvalidRequest, match="colour"):
        await ask(shop, listing=ListingSpec(facets=(FacetSpec("colour"),), digest=b"request "))
    first = await ask(shop, listing=COUNTED)
    for change in ({"digest": b"another "}, {"page_token": first.next_page_token[:-4] + "AAAA"}):
        listing = dataclasses.replace(COUNTED, **{"page_token": first.next_page_token, **change})  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="page_token"):
            await ask(shop, listing=listing)


async def test_equal_scores_stand_in_the_order_of_rows(tmp_path: Path) -> None:
    rows = [row | {"popularity": 5.0} for row in make_rows(range(COUNT))]
    release = make_shop(tmp_path)
    release.view = CatalogView(segment_of(tmp_path, rows, "equal"))
    release.recommender = Recommender(release.view.base.table)
    assert ids(await ask(release, top_k=200)) == [f"p{i}" for i in range(COUNT)]


async def test_places_are_kept_for_new_products_drawn_by_the_request_id(
    sold_shop: LoadedRelease, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tandem.requests")
    plan = Plan(exploration=0.2)
    known = {"p40", "p41", "p42", "p7"}
    shown: dict[str, list[str]] = {}
    for name in ("a", "b", "a"):
        result = await ask(sold_shop, user("p40", "p41"), plan=plan, request_id=name)
        assert result.person
        slots = result.person.exploration
        assert len(slots) == 2 and len(result.hits) == 10 == len(set(ids(result)))
        for slot in slots:
            assert result.hits[slot.rank - 1].row == slot.row and slot.rank > 1
            assert sold_shop.view.id(slot.row) not in known
            below = COUNT - len(known)  # at most so many are new
            assert 2 / below <= slot.propensity <= 1
        assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
        assert shown.setdefault(name, ids(result)) == ids(result)
    assert shown["a"] != shown["b"]
    logged = [record.getMessage() for record in caplog.records if "exploration" in record.getMessage()]
    entries = json.loads(logged[-1].partition(": ")[2].partition(": ")[2])
    assert entries == [
        {"product_id": sold_shop.view.id(slot.row), "rank": slot.rank, "propensity": pytest.approx(slot.propensity)}
        for slot in slots
    ]


async def test_pages_behind_kept_places_repeat_and_lose_nothing(sold_shop: LoadedRelease) -> None:
    plan = Plan(exploration=0.3)
    first = await ask(sold_shop, user("p40", "p41"), COUNTED, plan=plan)
    assert first.person and len(first.person.exploration) == 3
    seen, token = ids(first), first.next_page_token
    while token:
        listing = dataclasses.replace(COUNTED, page_token=token)
        page = await ask(sold_shop, user("p40", "p41"), listing, plan=plan, request_id="other")
        assert page.person and not page.person.exploration
        seen += ids(page)
        token = page.next_page_token
    assert len(seen) == COUNT == len(set(seen))


async def test_new_products_are_drawn_as_often_as_their_propensity_states(sold_shop: LoadedRelease) -> None:
    drawn: dict[int, int] = {}
    stated: dict[int, float] = {}
    rounds = 400
    for number in range(rounds):
        result = await ask(sold_shop, plan=Plan(exploration=0.25), request_id=str(number))
        assert result.person
        for slot in result.person.exploration:
            drawn[slot.row] = drawn.get(slot.row, 0) + 1
            stated[slot.row] = slot.propensity
    assert len(set(stated.values())) == 1  # each is as likely as any other
    pool, propensity = len(stated), next(iter(stated.values()))
    assert propensity * pool == pytest.approx(2.5)  # a quarter of ten places
    assert sum(drawn.values()) / rounds == pytest.approx(2.5, abs=0.15)
    # Inverse propensity weighting: each product counts one a round, whatever its luck, within six deviations.
    deviation = np.sqrt(rounds * propensity)
    assert all(abs(count - rounds * propensity) < 6 * deviation for count in drawn.values())


async def test_without_behaviour_what_was_upserted_is_new(tmp_path: Path, shop: LoadedRelease) -> None:
    assert not (await ask(shop, plan=Plan(exploration=0.5))).person.exploration  # type: ignore[union-attr]
    scale = PopularityScale(np.array([1000.0 - i for i in range(COUNT)]))
    fresh = segment_of(tmp_path, make_rows([600, 601]), "fresh", scale)
    shop.view = CatalogView(shop.view.base, (fresh,), None, revision=1)
    result = await ask(shop, plan=Plan(exploration=0.5), filter=Not(Equal("id", "p601")))
    assert result.person and [shop.view.id(slot.row) for slot in result.person.exploration] == ["p600"]
    assert result.person.exploration[0].propensity == 1


async def test_a_deadline_that_passes_ends_the_request(tmp_path: Path) -> None:

    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, delays={"retrieve": 30.0})
    result = await ask(release, user("p40", "p41"), deadline=asyncio.get_running_loop().time() + 1)
    assert len(result.hits) == 10 and [entry.detail for entry in result.degraded] == ["similar took too long"]
