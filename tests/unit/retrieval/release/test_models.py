"""Requests through the caches: what is computed once, what it costs, and that no model sees the scores of another."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import publish
from doubles import COUNT, PAIR_TOKENS, FixedLexicalRetriever, make_release

from catalog.view import CatalogView
from core.plan import Plan
from core.releases import ReleaseStore
from engine.cache import Caches
from engine.fake import FakeEngine
from engine.protocol import EngineError
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease, _digests
from retrieval.release.models import CachedModels
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_PLAN = Plan(candidates=20, rerank_depth=12, minimum_rerank=4)


def cached(
    folder: Path, caches: Caches, cross_encoder: str = "c", query_tower: str = "q", index: str = "i", **parts: object
) -> LoadedRelease:
    folder.mkdir(exist_ok=True)
    engine = parts.pop("engine", None) or FakeEngine(COUNT)
    release = make_release(folder, engine=engine, **parts)  # type: ignore[arg-type]
    release.models = CachedModels(engine, caches, query_tower, index, cross_encoder)  # type: ignore[arg-type]
    return release


def calls(release: LoadedRelease) -> list[tuple[str, int]]:
    return release.engine.calls  # type: ignore[attr-defined]


async def ask(
    release: LoadedRelease, text: str = "5 red shoes", seconds: float | None = None, plan: Plan = _PLAN
) -> SearchResult:
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    return await search(Query(text), plan, release, Permit(), deadline)


@pytest.fixture
def caches() -> Caches:
    return Caches.with_limits(1 << 20, 1 << 20, 1 << 20)


async def test_the_same_query_is_encoded_and_rescored_once_and_answered_alike(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches)
    first, again = await ask(release), await ask(release)
    assert calls(release) == [("encode", 1), ("retrieve", 1), ("rescore", 12)]
    assert first.hits == again.hits and not again.degraded
    assert (caches.vectors.counts.hits, caches.scores.counts.hits) == (1, 12)


async def test_answers_are_those_without_caches(tmp_path: Path, caches: Caches) -> None:
    release, plain = cached(tmp_path / "a", caches), make_release(tmp_path)
    for text in ("5 red shoes", "6 red shoes", "5 red shoes", "5 red hats!"):
        assert (await ask(release, text)).hits == (await ask(plain, text)).hits


async def test_requests_at_the_same_time_share_the_work(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches, engine=FakeEngine(COUNT, {"encode": 0.01, "rescore": 0.01}))
    answers = await asyncio.gather(*(ask(release) for _ in range(5)))
    assert calls(release) == [("encode", 1), ("retrieve", 1), ("rescore", 12)]
    assert all(answer.hits == answers[0].hits for answer in answers)


async def test_a_release_with_the_same_models_finds_what_another_left(tmp_path: Path, caches: Caches) -> None:
    old, new = cached(tmp_path / "old", caches), cached(tmp_path / "new", caches)
    assert (await ask(old)).hits == (await ask(new)).hits
    assert calls(new) == []


async def test_another_cross_encoder_never_gives_the_old_ones_scores(tmp_path: Path, caches: Caches) -> None:
    class Opposite(FakeEngine):
        async def rescore(self, pairs, deadline):  # type: ignore[no-untyped-def]
            return -await super().rescore(pairs, deadline)

    old = cached(tmp_path / "old", caches)
    new = cached(tmp_path / "new", caches, cross_encoder="d", engine=Opposite(COUNT))
    assert [hit.row for hit in (await ask(old)).hits] == list(range(16, 6, -1))
    assert [hit.row for hit in (await ask(new)).hits] == list(range(5, 15))
    assert calls(new) == [("rescore", 12)]  # the tower is the same


async def test_another_tower_never_gives_the_old_ones_vectors(tmp_path: Path, caches: Caches) -> None:
    class Further(FakeEngine):
        async def encode(self, queries, deadline):  # type: ignore[no-untyped-def]
            return await super().encode(queries, deadline) + 1

    old = cached(tmp_path / "old", caches)
    new = cached(tmp_path / "new", caches, query_tower="r", engine=Further(COUNT))
    assert {int(row) for row in (await ask(old)).candidates.rows} == set(range(5, 25))
    assert {int(row) for row in (await ask(new)).candidates.rows} == set(range(6, 26))


async def test_another_index_finds_its_own_products(tmp_path: Path, caches: Caches) -> None:
    old = cached(tmp_path / "old", caches)
    new = cached(tmp_path / "new", caches, index="j", engine=FakeEngine(10))
    assert {int(row) for row in (await ask(old)).candidates.rows} == set(range(5, 25))
    assert {int(row) for row in (await ask(new)).candidates.rows} == set(range(10))
    assert calls(new) == [("retrieve", 1), ("rescore", 5)]  # 5 to 9 were rescored for the other


async def test_what_words_found_is_compared_once(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches, words=FixedLexicalRetriever([2, 30, 6]))
    first, again = await ask(release), await ask(release)
    assert [call for call in calls(release) if call[0] == "score_rows"] == [("score_rows", 2)]
    assert first.hits == again.hits and first.candidates.fused


async def test_found_products_cannot_be_changed(tmp_path: Path, caches: Caches) -> None:
    result = await cached(tmp_path, caches).models.retrieve(np.array([3], np.float32), 5, None)
    for values in (result.rows, result.scores):
        with pytest.raises(ValueError, match="read-only"):
            values += 1


async def test_a_product_whose_text_changed_is_scored_anew_and_no_other(tmp_path: Path, caches: Caches) -> None:
    logits = list(range(COUNT))
    old = cached(tmp_path / "old", caches, logits=logits)
    await ask(old)
    logits[7] = 99
    new = cached(tmp_path / "new", caches, logits=logits)
    assert (await ask(new)).hits[0].row == 7
    assert calls(new) == [("rescore", 1)]


async def test_what_was_kept_costs_nothing_of_the_deadline(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches)
    await ask(release)
    release.rerank_cost.calibrate(72, 72.0)  # a second a token
    assert (await ask(release, seconds=1.0)).degraded == []
    # Another query of as many letters: its first four products were rescored for the other one.
    deeper = _PLAN.model_copy(update={"rerank_depth": 16})
    answer = await ask(release, seconds=PAIR_TOKENS * 2.5, plan=deeper)
    [degraded] = answer.degraded
    assert degraded.reason == "RERANK_REDUCED" and degraded.detail.endswith("allow 14 of 16 candidates")
    assert calls(release)[-1] == ("rescore", 2)


async def test_only_what_was_computed_teaches_the_pace(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches)
    await ask(release)
    release.rerank_cost.calibrate(72, 72.0)
    for _ in range(50):
        await ask(release)
    assert release.rerank_cost.affordable([1] * 200, 100.5) == 100  # still a second a token
    # Two pairs of twelve tokens in no time move it by a sixth of what 72 would: to 0.9667 s, 0.0333 s from before.
    await ask(release, plan=_PLAN.model_copy(update={"rerank_depth": 14}))
    assert release.rerank_cost.affordable([1] * 200, 104.0) == 100


async def test_an_engine_that_fails_leaves_nothing_behind(tmp_path: Path, caches: Caches) -> None:
    broken = cached(tmp_path / "broken", caches, engine=FakeEngine(COUNT, broken=["rescore"]))
    assert [entry.reason for entry in (await ask(broken)).degraded] == ["RERANK_FAILED"]
    assert len(caches.scores) == 0
    nothing = cached(tmp_path / "nothing", caches, engine=FakeEngine(COUNT, broken=["encode"]))
    with pytest.raises(EngineError):
        await ask(nothing, "6 other")
    assert len(caches.vectors) == 1


async def test_late_scores_are_not_kept_and_still_teach_the_pace(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches, engine=FakeEngine(COUNT, {"rescore": 5.0}))
    assert [entry.reason for entry in (await ask(release, seconds=0.6)).degraded] == ["RERANK_FAILED"]
    assert len(caches.scores) == 0
    assert release.rerank_cost.affordable([PAIR_TOKENS] * 12, 0.023) < 12


async def test_kept_vectors_cannot_be_changed(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches)
    vector = await release.models.encode(np.array([3], np.int32), None)
    with pytest.raises(ValueError, match="read-only"):
        vector += 1


async def test_another_view_of_the_catalog_is_searched_anew(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches)
    vector, rows = np.array([3], np.float32), np.array([4, 5])
    first, second = (CatalogView(release.view.base, deleted=np.arange(COUNT) == 7, revision=1) for _ in range(2))
    for view in (first, first, second):  # of one revision, and perhaps with other rows
        await release.models.retrieve(vector, 5, None, view)
        await release.models.score_rows(vector, rows, None, view)
    assert calls(release) == [("retrieve", 1), ("score_rows", 2)] * 2


async def test_views_of_the_base_alone_share_what_was_found(tmp_path: Path, caches: Caches) -> None:
    release = cached(tmp_path, caches)
    for revision in (0, 4):
        view = CatalogView(release.view.base, revision=revision)
        await release.models.retrieve(np.array([3], np.float32), 5, None, view)
    assert calls(release) == [("retrieve", 1)]


async def test_catalogs_share_no_cached_work_though_all_their_files_are_the_same(
    tmp_path: Path, caches: Caches
) -> None:
    scratch = tmp_path / "scratch"
    store = ReleaseStore(tmp_path / "releases")
    contents = {"products.arrow": b"products", "index.faiss": b"index"}
    files = {"encoder/query.onnx": b"tower", "ranker/model.onnx": b"ranker", "ranker/tokenizer.json": b"words"}
    tower = SimpleNamespace(model_path=lambda side: Path(f"{side}.onnx"))
    ranker = SimpleNamespace(model_path=Path("model.onnx"))
    releases = {}
    for name in ("shop", "outlet"):
        manifest = publish(store, scratch, contents, 1, model=files, catalog=name)
        tower_key, index_key, ranker_key = _digests(manifest, tower, ranker)  # type: ignore[arg-type]
        releases[name] = cached(tmp_path / name, caches, ranker_key, tower_key, index_key)
    every = [("encode", 1), ("retrieve", 1), ("rescore", 12)]
    for release in releases.values():
        await ask(release)
        assert calls(release) == every
    assert caches.vectors.counts.hits == caches.candidates.counts.hits == caches.scores.counts.hits == 0
    await ask(releases["shop"])
    assert calls(releases["shop"]) == every, "its own are there"
