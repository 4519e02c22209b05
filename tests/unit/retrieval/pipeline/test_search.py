import asyncio
import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
from doubles import COUNT, PAIR_TOKENS, make_release, rows_of

from core.plan import Plan
from engine.fake import FakeEngine
from engine.protocol import DeadlineExceeded, EngineError
from retrieval.pipeline.result import SearchResult, StageScore
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_PLAN = Plan(candidates=20, rerank_depth=12, minimum_rerank=4)


async def ask(
    release: LoadedRelease, seconds: float | None = None, plan: Plan = _PLAN, top_k: int = 10
) -> SearchResult:
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    return await search(Query("5 red shoes", top_k=top_k), plan, release, Permit(), deadline)


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit / 10))


async def test_the_stages_in_their_order_with_their_candidates(release: LoadedRelease) -> None:
    answer = await ask(release)
    assert [(stage.name, stage.candidates_in, stage.candidates_out) for stage in answer.stages] == [
        ("encode", 1, 1),
        ("retrieve", COUNT, 20),
        ("rescore", 20, 12),
        ("arrange", 20, 10),
    ]
    assert all(stage.seconds >= 0 for stage in answer.stages)
    assert answer.degraded == []
    assert release.engine.calls == [("encode", 1), ("retrieve", 1), ("rescore", 12)]  # type: ignore[attr-defined]


async def test_stages_are_timed(tmp_path: Path) -> None:
    release = make_release(tmp_path, engine=FakeEngine(COUNT, {"encode": 0.02, "rescore": 0.04}))
    seconds = {stage.name: stage.seconds for stage in (await ask(release)).stages}
    assert seconds["encode"] >= 0.02 and seconds["rescore"] >= 0.04
    assert seconds["retrieve"] < 0.02


async def test_rescored_products_come_by_relevance(release: LoadedRelease) -> None:
    hits = (await ask(release)).hits
    # Products 5 to 16 were rescored and the higher number has the higher logit.
    assert [hit.row for hit in hits] == list(range(16, 6, -1))
    for place, hit in enumerate(hits, 1):
        assert hit.score == pytest.approx(60 / (60 + place))
        assert hit.stage_score("rescore") == StageScore("rescore", pytest.approx(probability(hit.row)), place)
        assert hit.stage_score("mix") == StageScore("mix", hit.score, place)
        assert hit.stage_score("retrieve") == StageScore(
            "retrieve", pytest.approx(1 - 0.01 * (hit.row - 5)), hit.row - 4
        )


async def test_the_rest_follows_by_similarity_less_one(release: LoadedRelease) -> None:
    hits = (await ask(release, top_k=20)).hits
    assert [hit.row for hit in hits] == [*range(16, 4, -1), *range(17, 25)]
    for hit in hits[12:]:
        assert hit.stage_score("rescore") is None
        assert hit.stage_score("retrieve") == StageScore(
            "retrieve", pytest.approx(1 - 0.01 * (hit.row - 5)), hit.row - 4
        )
        assert hit.score == pytest.approx(-0.01 * (hit.row - 5))
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("mix", "first"), [(0.4, [5, 6, 7, 8]), (0.6, [6, 5, 8, 7])])
async def test_both_orders_are_mixed_by_their_ranks(tmp_path: Path, mix: float, first: list[int]) -> None:
    """Of 12 rescored, each two neighbours stand the other way round by relevance."""
    logits = [0] * 5 + [COUNT - place for pair in range(5, COUNT - 1, 2) for place in (pair + 1, pair)]
    release = make_release(tmp_path, logits=[*logits, 0])
    release.ranker.mix = mix  # type: ignore[union-attr]
    hits = (await ask(release, top_k=20)).hits
    assert [hit.row for hit in hits[:4]] == first
    ahead = max(mix, 1 - mix)
    assert hits[0].score == pytest.approx(60 * (ahead / 61 + (1 - ahead) / 62))
    assert hits[0].stage_score("mix") == StageScore("mix", hits[0].score, 1)
    assert [hit.row for hit in hits[12:]] == list(range(17, 25)) and hits[11].score > hits[12].score


async def test_orders_that_contradict_each_other_leave_that_of_retrieval(release: LoadedRelease) -> None:
    release.ranker.mix = 0.9  # type: ignore[union-attr]
    assert [hit.row for hit in (await ask(release)).hits] == list(range(5, 15))


async def test_a_cross_encoder_whose_word_does_not_count_is_not_asked(release: LoadedRelease) -> None:
    release.ranker.mix = 0.0  # type: ignore[union-attr]
    answer = await ask(release, plan=Plan(candidates=20))
    assert [hit.row for hit in answer.hits] == list(range(5, 15)) and answer.degraded == []
    assert [stage.name for stage in answer.stages] == ["encode", "retrieve", "arrange"]
    # A plan that asks for it all the same hears what it says, in the order of retrieval.
    answer = await ask(release)
    assert [hit.row for hit in answer.hits] == list(range(5, 15))
    assert answer.hits[0].stage_score("rescore") == StageScore("rescore", pytest.approx(probability(5)), 12)


async def test_equal_relevance_keeps_the_order_of_retrieval(tmp_path: Path) -> None:
    logits = [3] * COUNT
    logits[8] = 4
    hits = (await ask(make_release(tmp_path, logits=logits))).hits
    assert [hit.row for hit in hits] == [8, 5, 6, 7, 9, 10, 11, 12, 13, 14]


async def test_without_a_ranker_the_score_is_the_similarity(tmp_path: Path) -> None:
    answer = await ask(make_release(tmp_path, ranker=False))
    assert [stage.name for stage in answer.stages] == ["encode", "retrieve", "arrange"]
    assert [hit.row for hit in answer.hits] == list(range(5, 15))
    assert [hit.score for hit in answer.hits] == pytest.approx([1 - 0.01 * i for i in range(10)])
    assert answer.degraded == []  # the plan of such a release asks for no more


async def test_a_plan_without_reranking_rescores_nothing(release: LoadedRelease) -> None:
    answer = await ask(release, plan=Plan(candidates=20, rerank_depth=0))
    assert [hit.row for hit in answer.hits] == list(range(5, 15))
    assert answer.degraded == [] and ("rescore", 0) not in release.engine.calls  # type: ignore[attr-defined]


async def test_more_hits_than_the_plan_retrieves_widen_it(release: LoadedRelease) -> None:
    answer = await ask(release, plan=Plan(candidates=5, rerank_depth=3), top_k=30)
    assert len(answer.hits) == 30
    assert len({hit.row for hit in answer.hits}) == 30


async def test_a_small_catalog_gives_all_it_has(tmp_path: Path) -> None:
    answer = await ask(make_release(tmp_path, rows=rows_of(3)), top_k=10)
    assert [(stage.name, stage.candidates_in, stage.candidates_out) for stage in answer.stages] == [
        ("encode", 1, 1),
        ("retrieve", 3, 3),
        ("rescore", 3, 3),
        ("arrange", 3, 3),
    ]
    assert [hit.row for hit in answer.hits] == [2, 1, 0]
    assert answer.degraded == []


async def test_less_than_the_least_worth_rescoring_is_rescored_when_there_is_no_more(tmp_path: Path) -> None:
    release = make_release(tmp_path, rows=rows_of(3))
    release.rerank_cost.calibrate(1, 1.0)
    assert (await ask(release, 1000)).degraded == []


async def test_a_near_deadline_reduces_the_depth(release: LoadedRelease) -> None:
    release.rerank_cost.calibrate(1, 1.0)  # a second a token: a pair takes six
    answer = await ask(release, PAIR_TOKENS * 7.5)
    [degraded] = answer.degraded
    assert degraded.reason == "RERANK_REDUCED"
    assert degraded.detail.endswith("ms left allow 7 of 12 candidates")
    assert [hit.row for hit in answer.hits] == [11, 10, 9, 8, 7, 6, 5, 12, 13, 14]
    assert ("rescore", 7) in release.engine.calls  # type: ignore[attr-defined]
    assert [stage.candidates_out for stage in answer.stages if stage.name == "rescore"] == [7]


async def test_a_nearer_deadline_skips_rescoring_and_relaxes_the_pace(release: LoadedRelease) -> None:
    release.rerank_cost.calibrate(1, 1.0)
    for _ in range(100):
        release.rerank_cost.observe(1, 4.0)
    answer = await ask(release, PAIR_TOKENS * 4 * 3.5)  # three fit, four are the least
    [degraded] = answer.degraded
    assert degraded.reason == "RERANK_SKIPPED" and "allow 3 of 12" in degraded.detail
    assert [hit.row for hit in answer.hits] == list(range(5, 15))
    assert [hit.score for hit in answer.hits] == pytest.approx([1 - 0.01 * i for i in range(10)])
    assert [stage.candidates_out for stage in answer.stages if stage.name == "rescore"] == [0]
    # 4 s * 0.9 a token: after one skipped request, one pair of six tokens takes 21.6 s and no longer 24.
    assert release.rerank_cost.affordable([PAIR_TOKENS], 22.5) == 1


async def test_enough_time_degrades_nothing_and_is_learned_from(release: LoadedRelease) -> None:
    release.rerank_cost.calibrate(1, 1.0)
    assert (await ask(release, 1000)).degraded == []
    # The fake engine took no time: 1 s + 0.2 * (0 - 1 s) = 0.8 s a token, and twice the 0.2 s that it differed.
    assert release.rerank_cost.affordable([PAIR_TOKENS], 7.3) == 1
    assert release.rerank_cost.affordable([PAIR_TOKENS], 7.1) == 0


async def test_rescoring_that_takes_too_long_fails_into_the_order_of_retrieval(tmp_path: Path) -> None:
    release = make_release(tmp_path, engine=FakeEngine(COUNT, {"rescore": 5.0}))
    start = asyncio.get_running_loop().time()
    answer = await ask(release, 0.1)
    assert asyncio.get_running_loop().time() - start < 2
    [degraded] = answer.degraded
    assert degraded.reason == "RERANK_FAILED" and "12 candidates took too long" in degraded.detail
    assert [hit.row for hit in answer.hits] == list(range(5, 15))
    # 72 tokens took 96 ms at least, and a fifth of that counts: 72 more no longer fit into 23 ms less the reserve.
    assert release.rerank_cost.affordable([PAIR_TOKENS] * 12, 0.023) < 12


@pytest.mark.parametrize(("seen", "reserved"), [(0.0, 0.05), (0.1, 0.25), (10.0, 0.5)])
async def test_after_rescoring_that_was_cut_off_there_is_time_to_answer(
    tmp_path: Path, seen: float, reserved: float
) -> None:
    """A twentieth of the time, or more where answers were seen to take long, and never less than 8 ms."""
    release = make_release(tmp_path, engine=FakeEngine(COUNT, {"rescore": 30.0}))
    for _ in range(10):
        release.reserve.observe(seen)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.6
    answer = await search(Query("5 red shoes"), _PLAN, release, Permit(), deadline)
    assert [entry.reason for entry in answer.degraded] == ["RERANK_FAILED"]
    left = deadline - answer.arranging_since
    assert 0.5 * 0.6 * reserved <= left <= 0.6 * reserved + 0.01


async def test_a_call_that_was_late_has_the_next_ones_reserve_more(tmp_path: Path) -> None:
    """The loop was busy when rescoring was to be cut off, until the call's own end was over as well."""
    release = make_release(tmp_path, engine=FakeEngine(COUNT, {"rescore": 30.0}))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.3

    async def call() -> None:
        async with asyncio.timeout_at(deadline):
            await search(Query("5 red shoes"), _PLAN, release, Permit(), deadline)

    before = release.reserve.usable(10.0)
    request = asyncio.create_task(call())
    while not any(name == "rescore" for name, _ in release.engine.calls):  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    time.sleep(max(0.0, deadline + 0.8 - loop.time()))
    with pytest.raises(TimeoutError):
        await request
    assert release.reserve.usable(10.0) < before


async def test_rescoring_that_fails_degrades_and_says_why(tmp_path: Path) -> None:
    release = make_release(tmp_path, engine=FakeEngine(COUNT, broken=["rescore"]))
    release.rerank_cost.calibrate(1, 0.1)
    for deadline in (None, 100, 100, 100, 100):
        answer = await ask(release, deadline)
        [degraded] = answer.degraded
        assert (degraded.reason, degraded.cause) == ("RERANK_FAILED", "rescore is broken")
        assert re.fullmatch(r"rescoring \d+ candidates failed", degraded.detail)
        assert [hit.row for hit in answer.hits] == list(range(5, 15))
    # A failure tells nothing of how long rescoring takes.
    assert release.rerank_cost.affordable([PAIR_TOKENS] * 2, 0.7) == 1


async def test_a_cancelled_request_tells_nothing_of_how_long_rescoring_takes(tmp_path: Path) -> None:
    release = make_release(tmp_path, engine=FakeEngine(COUNT, {"rescore": 60.0}))
    release.rerank_cost.calibrate(1, 0.1)
    for _ in range(5):
        request = asyncio.create_task(ask(release, 100))
        await asyncio.sleep(0.005)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert release.rerank_cost.affordable([PAIR_TOKENS] * 2, 0.7) == 1


@pytest.mark.parametrize("stage", ["encode", "retrieve"])
async def test_without_a_retrieved_list_there_is_no_answer(tmp_path: Path, stage: str) -> None:
    with pytest.raises(EngineError, match=f"{stage} is broken"):
        await ask(make_release(tmp_path, engine=FakeEngine(COUNT, broken=[stage])))
    late = make_release(tmp_path, engine=FakeEngine(COUNT, {stage: 0.02}))
    with pytest.raises(DeadlineExceeded):
        await ask(late, 0.01)


async def test_pairs_are_packed_from_the_releases_tokens(release: LoadedRelease) -> None:
    [pair] = release.pack("red", np.array([9]))
    assert pair.tokens.tolist() == [101, 3, 102, 7, 9, 102]
    assert pair.segments.tolist() == [0, 0, 0, 1, 1, 1]


async def test_warming_runs_every_model_and_sets_the_pace(tmp_path: Path) -> None:
    engine = FakeEngine(COUNT, {"rescore": 0.01})
    release = make_release(tmp_path, engine=engine)
    await release.warm()
    assert engine.calls == [("encode", 1), ("retrieve", 1), ("rescore", 32)] * 3
    # 32 pairs of 6 tokens took at least 10 ms.
    assert release.rerank_cost.affordable([PAIR_TOKENS] * 64, 0.01) <= 32


async def test_a_release_closes_once_retired_and_done(tmp_path: Path) -> None:
    engine = FakeEngine(COUNT)
    release = make_release(tmp_path, engine=engine)
    with release.lease() as first:
        assert first is release
        with release.lease():
            release.retire()
            assert not engine.closed
        assert not engine.closed
    assert engine.closed
