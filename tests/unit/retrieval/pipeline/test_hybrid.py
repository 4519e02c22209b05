"""Both sources side by side: the towers find products 5, 6, 7, ..., words those that are told."""

import asyncio
from pathlib import Path

import pytest
from doubles import COUNT, FixedLexicalRetriever, make_release

from core.plan import Plan
from engine.fake import FakeEngine
from engine.fallback import FallbackEngine
from engine.protocol import DeadlineExceeded, EngineError
from retrieval.pipeline.result import Degradation, SearchResult, StageScore
from retrieval.pipeline.search import search
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_PLAN = Plan(candidates=4, lexical_candidates=3, rerank_depth=0)
_TOO_LONG = 5.0


async def ask(
    folder: Path,
    words: FixedLexicalRetriever | None,
    plan: Plan = _PLAN,
    seconds: float | None = None,
    engine: FakeEngine | None = None,
) -> SearchResult:
    release = make_release(folder, engine=engine, words=words)
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    return await search(Query("5 red shoes", top_k=4), plan, release, Permit(), deadline)


async def test_what_both_find_goes_first(tmp_path: Path) -> None:
    answer = await ask(tmp_path, FixedLexicalRetriever([30, 6, 31]))
    # 1/61 + 1/63... : 6 has ranks 2 and 2; 5 and 30 rank 1 of one source, the lower row first.
    assert [hit.row for hit in answer.hits] == [6, 5, 30, 7]
    assert [hit.score for hit in answer.hits] == pytest.approx([2 / 62, 1 / 61, 1 / 61, 1 / 63])
    assert answer.candidates.rows.tolist() == [6, 5, 30, 7, 31, 8]
    assert answer.degraded == []


async def test_every_stage_says_what_it_saw(tmp_path: Path) -> None:
    answer = await ask(tmp_path, FixedLexicalRetriever([30, 6, 31]))
    assert [(stage.name, stage.candidates_in, stage.candidates_out) for stage in answer.stages] == [
        ("encode", 1, 1),
        ("lexical", COUNT, 3),
        ("retrieve", COUNT, 4),
        ("fuse", 7, 6),
        ("arrange", 6, 4),
    ]


async def test_each_source_scores_what_the_other_found(tmp_path: Path) -> None:
    words = FixedLexicalRetriever([30, 6, 31])
    both, dense, lexical, _ = (await ask(tmp_path, words)).hits
    close = pytest.approx
    assert both.stage_scores == (
        StageScore("retrieve", close(0.99), 2),
        StageScore("lexical", close(3.5), 2),
        StageScore("fuse", both.score, 1),
    )
    # Product 5 was found by the towers alone and product 30 by words alone: ranks of 0, scores none the less.
    assert dense.stage_scores == (
        StageScore("retrieve", 1, 1),
        StageScore("lexical", close(3), 0),
        StageScore("fuse", dense.score, 2),
    )
    assert lexical.stage_scores == (
        StageScore("retrieve", close(0.75), 0),
        StageScore("lexical", 15.5, 1),
        StageScore("fuse", lexical.score, 2),
    )  # as dense
    assert words.asked == [6, 5, 30, 7, 31, 8]


async def test_weights_of_the_plan_decide_between_the_sources(tmp_path: Path) -> None:
    words = FixedLexicalRetriever([30, 31, 32])
    plan = _PLAN.model_copy(update={"lexical_weight": 2.0})
    assert [hit.row for hit in (await ask(tmp_path, words, plan)).hits] == [30, 31, 32, 5]
    plan = _PLAN.model_copy(update={"lexical_weight": 0.0})
    assert [hit.row for hit in (await ask(tmp_path, words, plan)).hits] == [5, 6, 7, 8]


async def test_the_cross_encoder_rescores_the_first_of_both(tmp_path: Path) -> None:
    plan = _PLAN.model_copy(update={"rerank_depth": 3, "minimum_rerank": 1})
    hits = (await ask(tmp_path, FixedLexicalRetriever([30, 6, 31]), plan)).hits
    assert [hit.row for hit in hits] == [30, 6, 5, 7]  # the higher row has the higher logit; 7 was not rescored
    assert [hit.stage_score("rescore") is not None for hit in hits] == [True, True, True, False]
    assert hits[3].score == pytest.approx(1 / 63 - 1)


@pytest.mark.parametrize("plan", [_PLAN.model_copy(update={"lexical_candidates": 0}), _PLAN])
async def test_without_words_the_towers_answer_alone(tmp_path: Path, plan: Plan) -> None:
    words = FixedLexicalRetriever([30]) if plan.lexical_candidates == 0 else None
    answer = await ask(tmp_path, words, plan)
    assert [hit.row for hit in answer.hits] == [5, 6, 7, 8]
    assert [stated.stage for stated in answer.hits[0].stage_scores] == ["retrieve"]
    assert answer.degraded == [] and answer.candidates.lexical is None


@pytest.mark.parametrize("call", ["search", "evidence"])
async def test_words_that_fail_degrade_the_answer(tmp_path: Path, call: str) -> None:
    answer = await ask(tmp_path, FixedLexicalRetriever([30], broken=call))
    detail = "matching words failed" if call == "search" else "comparing the sources failed"
    assert answer.degraded == [Degradation("LEXICAL_FAILED", detail, cause=f"{call} is broken")]
    assert [hit.row for hit in answer.hits] == [5, 6, 7, 8]


async def test_words_that_take_too_long_degrade_the_answer(tmp_path: Path) -> None:
    began = asyncio.get_running_loop().time()
    answer = await ask(tmp_path, FixedLexicalRetriever([30], delay=_TOO_LONG), seconds=0.1)
    assert asyncio.get_running_loop().time() - began < _TOO_LONG / 2
    assert [entry.reason for entry in answer.degraded] == ["LEXICAL_FAILED"]
    assert [hit.row for hit in answer.hits] == [5, 6, 7, 8]


async def test_similarities_that_fail_degrade_the_answer(tmp_path: Path) -> None:
    answer = await ask(tmp_path, FixedLexicalRetriever([30]), engine=FakeEngine(COUNT, broken=["score_rows"]))
    assert answer.degraded == [
        Degradation("LEXICAL_FAILED", "comparing the sources failed", cause="score_rows is broken")
    ]
    assert [hit.row for hit in answer.hits] == [5, 6, 7, 8]


@pytest.mark.parametrize("stage", ["encode", "retrieve"])
async def test_words_answer_when_the_towers_fail(tmp_path: Path, stage: str) -> None:
    plan = _PLAN.model_copy(update={"rerank_depth": 3})
    answer = await ask(tmp_path, FixedLexicalRetriever([30, 6, 31]), plan, engine=FakeEngine(COUNT, broken=[stage]))
    assert [hit.row for hit in answer.hits] == [30, 6, 31]
    assert [hit.score for hit in answer.hits] == pytest.approx([15.5, 3.5, 16])
    detail = "words alone answer: the bi-encoder failed"
    assert answer.degraded == [Degradation("DENSE_FAILED", detail, cause=f"{stage} is broken")]


async def test_without_a_word_found_the_towers_failure_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="encode is broken"):
        await ask(tmp_path, FixedLexicalRetriever([]), engine=FakeEngine(COUNT, broken=["encode"]))


async def test_words_are_let_go_of_when_the_deadline_passes(tmp_path: Path) -> None:
    words = FixedLexicalRetriever([30], delay=_TOO_LONG)
    with pytest.raises(DeadlineExceeded):
        await ask(tmp_path, words, seconds=0.01, engine=FakeEngine(COUNT, {"encode": 0.02}))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_release_that_closes_closes_its_words(tmp_path: Path) -> None:
    words = FixedLexicalRetriever([30])
    release = make_release(tmp_path, words=words)
    await release.warm()
    release.retire()
    assert words.closed


async def test_rewrites_change_the_query_for_every_stage(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=FixedLexicalRetriever([30]))
    answer = await search(Query("5 scarlet shoes", top_k=1), _PLAN, release, Permit(), None)
    assert answer.searched_query == "5 red shoes"
    assert (await search(Query("5 red shoes", top_k=1), _PLAN, release, Permit(), None)).searched_query == ""


async def test_both_sources_and_the_cross_encoder_see_the_query_as_it_is_spelt(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=FixedLexicalRetriever([30]))
    answer = await search(Query("5 reed shoes", top_k=1), _PLAN, release, Permit(), None)
    assert answer.searched_query == "5 red shoes"


async def test_a_query_stays_as_it_is_where_spelling_fails_or_words_are_off(tmp_path: Path) -> None:
    broken = make_release(tmp_path, words=FixedLexicalRetriever([30], broken="spelt"))
    assert not (await search(Query("5 reed shoes", top_k=1), _PLAN, broken, Permit(), None)).searched_query
    whole = make_release(tmp_path, words=FixedLexicalRetriever([30]))
    off = _PLAN.model_copy(update={"lexical_candidates": 0})
    assert not (await search(Query("5 reed shoes", top_k=1), off, whole, Permit(), None)).searched_query


async def test_a_spelling_that_hangs_leaves_time_for_all_else(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=FixedLexicalRetriever([30], delay=5))
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await search(Query("5 reed shoes", top_k=1), _PLAN, release, Permit(), began + 1)
    assert [hit.row for hit in answer.hits] == [5] and not answer.searched_query
    assert [entry.reason for entry in answer.degraded] == ["LEXICAL_FAILED"]
    [encode] = [stage for stage in answer.stages if stage.name == "encode"]
    assert encode.seconds < 0.5 < loop.time() - began < 1


async def test_towers_that_hang_leave_time_for_words(tmp_path: Path) -> None:
    engine = FakeEngine(COUNT, delays={"encode": 0.38})  # too late for words, in time for the caller
    answer = await ask(tmp_path, FixedLexicalRetriever([30, 6]), seconds=0.4, engine=engine)
    assert [hit.row for hit in answer.hits] == [30, 6]
    [degraded] = answer.degraded
    assert degraded.reason == "DENSE_FAILED" and degraded.detail.endswith("the bi-encoder took too long")


async def test_an_engine_that_stood_in_is_named(tmp_path: Path) -> None:
    engine = FallbackEngine(FakeEngine(COUNT, broken=["encode", "rescore"]), FakeEngine(COUNT))
    whole = await ask(_made(tmp_path / "a"), FixedLexicalRetriever([30, 6, 31]), Plan(rerank_depth=3, minimum_rerank=1))
    release = make_release(_made(tmp_path / "b"), engine=engine, words=FixedLexicalRetriever([30, 6, 31]))  # type: ignore[arg-type]
    plan = Plan(rerank_depth=3, minimum_rerank=1)
    answer = await search(Query("5 red shoes", top_k=4), plan, release, Permit(), None)
    assert [hit.row for hit in answer.hits] == [hit.row for hit in whole.hits]
    cause = "encode in this process: encode is broken; rescore in this process: rescore is broken"
    detail = "encode in this process; rescore in this process"
    assert answer.degraded == [Degradation("ENGINE_FALLBACK", detail, cause)]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
