"""Quality goes before answers: rescoring first, then sources, each step by its name."""

from pathlib import Path

import pytest
from doubles import COUNT, FixedLexicalRetriever, make_release
from recommendations import BEHAVIOUR, POPULAR, Tower, make_shop, user
from recommendations import ask as ask_recommend

from core.plan import Plan
from engine.cache import Caches
from engine.fake import FakeEngine
from retrieval.listing.spec import ListingSpec
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.quality import sheds_words
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.release.models import CachedModels
from retrieval.server.admission import Permit
from retrieval.understanding.result import HARD
from retrieval.wire.request import Query

_PLAN = Plan(candidates=20, rerank_depth=12, minimum_rerank=3)


async def ask(release: LoadedRelease, pressure: float, plan: Plan = _PLAN) -> SearchResult:
    return await search(Query("5 red shoes"), plan, release, Permit(pressure=pressure), None)


def rescored(answer: SearchResult) -> int:
    return next((stage.candidates_out for stage in answer.stages if stage.name == "rescore"), 0)


@pytest.mark.parametrize(("pressure", "depth"), [(0.0, 12), (0.2, 9), (0.4, 6), (0.6, 3), (0.8, 0), (1.0, 0)])
async def test_pressure_lowers_the_depth_and_says_so(release: LoadedRelease, pressure: float, depth: int) -> None:
    answer = await ask(release, pressure)
    assert rescored(answer) == depth and len(answer.hits) == 10
    named = [(entry.reason, entry.detail) for entry in answer.degraded]
    detail = f"{depth} of 12 candidates were rescored: many requests are in flight"
    assert named == ([("RERANK_SHED", detail)] if pressure else [])


async def test_fewer_than_rank_well_are_not_rescored(release: LoadedRelease) -> None:
    answer = await ask(release, 0.6, _PLAN.model_copy(update={"minimum_rerank": 4}))
    assert rescored(answer) == 0
    assert [hit.row for hit in answer.hits] == list(range(5, 15))  # in the order of retrieval, as it was given


async def test_scores_in_the_cache_are_used_whatever_the_pressure(tmp_path: Path) -> None:
    """And what was answered under pressure is no answer to keep: afterwards the whole depth is rescored."""
    engine = FakeEngine(COUNT)
    caches = Caches.with_limits(1 << 20, 1 << 20, 1 << 20)
    release = make_release(tmp_path, engine=engine)
    release.models = CachedModels(engine, caches, "q", "i", "c")
    assert rescored(await ask(release, 0.4)) == 6
    again = await ask(release, 1.0)
    assert rescored(again) == 6 and [entry.reason for entry in again.degraded] == ["RERANK_SHED"]
    whole = await ask(release, 0.0)
    assert rescored(whole) == 12 and not whole.degraded
    pressed = await ask(release, 1.0)
    assert [hit.row for hit in pressed.hits] == [hit.row for hit in whole.hits] and not pressed.degraded
    assert [pairs for call, pairs in engine.calls if call == "rescore"] == [6, 6]


def quality_of(release: LoadedRelease, text: str, pressure: float, **others: object) -> list[str]:
    query = Query(text, **others)  # type: ignore[arg-type]
    context = RequestContext.start(query, _PLAN, release, None, pressure)
    assert sheds_words(context) == bool(context.result.degraded)
    return [entry.reason for entry in context.result.degraded]


def test_words_are_left_out_last_and_not_where_they_say_more(release: LoadedRelease) -> None:
    assert quality_of(release, "red shoes", 1.0) == ["SOURCE_SHED"]
    assert quality_of(release, "red shoes", 0.8) == []
    assert quality_of(release, "AB-1234", 1.0) == []
    assert quality_of(release, "red shoes", 1.0, understanding=HARD) == []
    assert quality_of(release, "red shoes", 1.0, listing=ListingSpec(count=True)) == []


async def test_a_search_under_full_pressure_is_answered_by_meaning_alone(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=FixedLexicalRetriever([30]))
    query = Query("red shoes")
    whole = await search(query, _PLAN, release, Permit(), None)
    assert 30 in [hit.row for hit in whole.hits] and not whole.degraded
    pressed = await search(query, _PLAN, release, Permit(pressure=1.0), None)
    assert [entry.reason for entry in pressed.degraded] == ["SOURCE_SHED", "RERANK_SHED"]
    assert "lexical" not in [stage.name for stage in pressed.stages] and len(pressed.hits) == 10


async def test_words_are_not_explained_under_pressure(release: LoadedRelease) -> None:
    query = Query("5 red shoes", explain_words=2)
    pressed = await search(query, _PLAN, release, Permit(pressure=0.8), None)
    assert [entry.reason for entry in pressed.degraded] == ["RERANK_SHED", "EXPLANATION_SKIPPED"]
    assert not any(hit.words for hit in pressed.hits)


async def test_sources_of_recommendations_that_others_stand_for_are_left_out(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "a", BEHAVIOUR, POPULAR, Tower())
    whole = await ask_recommend(shop, user("p8", "p9"))
    pressed = await ask_recommend(shop, user("p8", "p9"), pressure=1.0)
    assert whole.person and {"user_tower", "same_group", "similar"} <= set(whole.person.sources)
    assert pressed.person and {"same_group", "similar"}.isdisjoint(pressed.person.sources)
    assert "user_tower" in pressed.person.sources
    [entry] = pressed.degraded
    assert entry.reason == "SOURCE_SHED" and entry.detail.startswith("same_group, similar left out")
    # Without a tower, what is similar is all that is known of the shopper.
    plain = await ask_recommend(make_shop(tmp_path / "b"), user("p8", "p9"), pressure=1.0)
    assert plain.person and "similar" in plain.person.sources
