"""A request whose order a final score decides, with trees that one can follow by hand."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import COUNT, FixedLexicalRetriever, make_release, rows_of
from wordings import lexical_index, titles

from core.errors import MissingPackageError
from core.plan import Plan
from engine.fake import FakeEngine
from ranker.features import FEATURE_NAMES
from ranker.final import FinalSpec
from retrieval.pipeline.lexical import LexicalRetriever
from retrieval.pipeline.result import Degradation, SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_PLAN = Plan(candidates=4, lexical_candidates=3, rerank_depth=2, minimum_rerank=1)
_WORDS, _RELEVANCE = FEATURE_NAMES.index("title_bm25"), FEATURE_NAMES.index("rerank_probability")


class Sum:
    """Scores are BM25 as a share of the best, and once the cross-encoder has spoken ten times the relevance more."""

    def __init__(self) -> None:
        self.spec = FinalSpec(features=FEATURE_NAMES, dense_weight=0.5, lexical_weight=1.0, rerank_depth=3, encoder="e")

    def contributions(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        reported = np.zeros_like(table)
        reported[:, _WORDS] = table[:, _WORDS] / table[:, _WORDS].max()
        if rescored:
            reported[:, _RELEVANCE] = 10 * np.nan_to_num(table[:, _RELEVANCE])
        return reported

    def scores(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        assert rescored != np.isnan(table[:, _RELEVANCE]).all(), "the first trees are there for what was not rescored"
        return self.contributions(table, rescored).sum(1)


async def ask(
    folder: Path,
    plan: Plan = _PLAN,
    explain: bool = False,
    engine: FakeEngine | None = None,
    words: FixedLexicalRetriever | None = None,
) -> SearchResult:
    release = make_release(folder, engine=engine, words=words or FixedLexicalRetriever([30, 6, 31]), final=Sum())
    return await search(Query("5 red shoes", top_k=4, explain=explain), plan, release, Permit(), None)


async def test_the_cross_encoder_is_asked_of_what_the_final_score_puts_first(tmp_path: Path) -> None:
    answer = await ask(tmp_path)
    # By words alone the order is 31, 30, 8, 7, 6, 5; the first two are rescored, 31 with the higher logit.
    assert [hit.row for hit in answer.hits] == [31, 30, 8, 7]
    assert [hit.stage_score("rescore") is not None for hit in answer.hits] == [True, True, False, False]
    assert [stage.name for stage in answer.stages] == [
        "encode",
        "lexical",
        "retrieve",
        "fuse",
        "prerank",
        "rescore",
        "arrange",
    ]


async def test_the_score_is_the_final_one_and_every_stage_is_told(tmp_path: Path) -> None:
    first = (await ask(tmp_path)).hits[0]
    assert [stated.stage for stated in first.stage_scores] == ["retrieve", "lexical", "fuse", "rescore", "final"]
    relevance, final = first.stage_score("rescore"), first.stage_score("final")
    assert relevance is not None and final is not None
    assert first.score == final.score == pytest.approx(1 + 10 * relevance.score)
    assert (relevance.rank, final.rank) == (1, 1)


async def test_reasons_come_when_asked_for(tmp_path: Path) -> None:
    assert (await ask(tmp_path)).hits[0].contributions == ()
    reasons = (await ask(tmp_path, explain=True)).hits[0].contributions
    assert [reason.feature for reason in reasons] == ["rerank_probability", "title_bm25"]
    assert reasons[1].value > reasons[1].contribution == pytest.approx(1)
    assert reasons[0].contribution == pytest.approx(10 * reasons[0].value)


class WatchedSum(Sum):
    """Notes on which threads it works, and waits where it is told to before it explains."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[str, set[int]] = {"scores": set(), "contributions": set()}
        self.go = threading.Event()
        self.go.set()

    def contributions(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        self.threads["contributions"].add(threading.get_ident())
        self.go.wait(30)
        return super().contributions(table, rescored)

    def scores(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        self.threads["scores"].add(threading.get_ident())
        return Sum.contributions(self, table, rescored).sum(1)


def many(folder: Path, final: WatchedSum, count: int) -> LoadedRelease:
    return make_release(folder, rows_of(count), words=FixedLexicalRetriever(range(count)), final=final)


async def test_reasons_are_told_of_the_first_hits_and_not_on_the_event_loop(tmp_path: Path) -> None:
    final = WatchedSum()
    plan = Plan(candidates=80, lexical_candidates=80, rerank_depth=2, minimum_rerank=1)
    query = Query("5 red shoes", top_k=80, explain=True)
    explained = await search(query, plan, many(tmp_path, final, 90), Permit(), None)
    assert [bool(hit.contributions) for hit in explained.hits] == [True] * 50 + [False] * 30
    assert final.threads["contributions"].isdisjoint({threading.get_ident()})
    plain = await search(replace(query, explain=False), plan, many(tmp_path, final, 90), Permit(), None)
    assert [replace(hit, contributions=()) for hit in explained.hits] == plain.hits


async def test_reasons_that_come_too_late_are_left_out(tmp_path: Path) -> None:
    final = WatchedSum()
    final.go.clear()
    release = many(tmp_path, final, 20)
    deadline = asyncio.get_running_loop().time() + 0.5
    try:
        answer = await search(Query("5 red shoes", top_k=5, explain=True), _PLAN, release, Permit(), deadline)
    finally:
        final.go.set()
    assert len(answer.hits) == 5 and not any(hit.contributions for hit in answer.hits)
    assert answer.degraded == [Degradation("EXPLANATION_SKIPPED", "explaining the scores took too long")]


class Unexplained(WatchedSum):
    """A final score where LightGBM is not installed."""

    def contributions(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        raise MissingPackageError("explaining scores", "explain")


async def test_without_lightgbm_an_answer_is_not_explained_and_says_so(tmp_path: Path) -> None:
    release = many(tmp_path, Unexplained(), 20)
    query = Query("5 red shoes", top_k=5)
    plain, answer = [
        await search(replace(query, explain=explain), _PLAN, release, Permit(), None) for explain in (False, True)
    ]
    cause = "explaining scores needs pip install 'tandem-retrieval[explain]'"
    assert answer.degraded == [Degradation("EXPLANATION_SKIPPED", "this service cannot explain scores", cause)]
    assert answer.hits == plain.hits and not plain.degraded


@pytest.mark.parametrize(("count", "aside"), [(200, False), (300, True)])
async def test_many_candidates_are_scored_aside_from_the_event_loop(tmp_path: Path, count: int, aside: bool) -> None:
    final = WatchedSum()
    plan = Plan(candidates=count, lexical_candidates=count, rerank_depth=2, minimum_rerank=1)
    answer = await search(Query("5 red shoes", top_k=5), plan, many(tmp_path, final, count), Permit(), None)
    assert len(answer.candidates.rows) == count
    assert final.threads["scores"].isdisjoint({threading.get_ident()}) == aside


async def test_without_the_cross_encoder_the_final_score_still_ranks(tmp_path: Path) -> None:
    answer = await ask(tmp_path, engine=FakeEngine(COUNT, broken=["rescore"]))
    assert [hit.row for hit in answer.hits] == [31, 30, 8, 7]
    assert [entry.reason for entry in answer.degraded] == ["RERANK_FAILED"]
    assert all(hit.stage_score("rescore") is None and hit.stage_score("final") is not None for hit in answer.hits)


async def test_without_words_the_order_is_that_of_the_cross_encoder(tmp_path: Path) -> None:
    answer = await ask(tmp_path, words=FixedLexicalRetriever([30], broken="search"))
    assert [hit.row for hit in answer.hits] == [6, 5, 7, 8]
    assert answer.hits[0].stage_score("final") is None


async def test_fusion_takes_the_weights_tuned_with_the_final_score_unless_the_plan_has_its_own(tmp_path: Path) -> None:
    def fused(answer: SearchResult) -> dict[int, float]:
        return dict(zip(answer.candidates.rows.tolist(), answer.candidates.scores.tolist(), strict=True))

    assert fused(await ask(tmp_path))[5] == pytest.approx(0.5 / 61)
    plan = _PLAN.model_copy(update={"dense_weight": 2.0})
    assert fused(await ask(tmp_path, plan))[5] == pytest.approx(2 / 61)


async def test_as_many_are_rescored_as_the_final_score_needs_unless_the_plan_says_how_many(tmp_path: Path) -> None:
    def rescored(answer: SearchResult) -> int:
        return int(np.count_nonzero(~np.isnan(answer.relevance)))

    open_plan = _PLAN.model_copy(update={"rerank_depth": None})
    assert rescored(await ask(tmp_path, open_plan)) == 3
    assert rescored(await ask(tmp_path)) == 2
    assert rescored(await ask(tmp_path, open_plan.model_copy(update={"rerank_depth": 0}))) == 0
    plain = make_release(tmp_path, words=FixedLexicalRetriever([30, 6, 31]))
    assert plain.rerank_depth(open_plan) == 32


def coded(folder: Path) -> LexicalRetriever:
    """Product 9 is all of `things` and has a model number, 28 to 38 have another."""
    texts = [f"things {i}" if i != 9 else "things XR-500b" for i in range(COUNT)]
    texts[28:39] = ["things AB-123c"] * 11
    return LexicalRetriever(lexical_index(folder / "lexical", titles(*texts)), "en", {"title": 1.0})


@pytest.mark.parametrize("final", [None, Sum()])
@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("query", ["5 xr500b", "5 things XR-500B"])
async def test_a_product_that_the_query_names_by_its_code_comes_first(
    query: str, depth: int, final: Sum | None, tmp_path: Path
) -> None:
    release = make_release(tmp_path, words=coded(tmp_path), final=final)  # type: ignore[arg-type]
    plan = _PLAN.model_copy(update={"rerank_depth": depth})
    answer = await search(Query(query, top_k=4, explain=True), plan, release, Permit(), None)
    assert answer.hits[0].row == 9
    reasons = [[reason.feature for reason in hit.contributions[:1]] for hit in answer.hits]
    assert [reported == ["code_match_rule"] for reported in reasons] == [final is not None, False, False, False]
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert (answer.hits[0].stage_score("rescore") is not None) == (depth > 0)


class FewestWordsFirst(Sum):
    """Trees that rank what the query's words match last."""

    def scores(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        return -table[:, _WORDS]


async def test_a_product_named_by_its_code_is_rescored_whatever_the_trees_return(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=coded(tmp_path), final=FewestWordsFirst())  # type: ignore[arg-type]
    plan = _PLAN.model_copy(update={"rerank_depth": 1})
    answer = await search(Query("5 xr500b", top_k=4), plan, release, Permit(), None)
    assert answer.hits[0].row == 9
    assert [hit.stage_score("rescore") is not None for hit in answer.hits] == [True, False, False, False]


async def test_a_code_that_many_hold_names_none(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=coded(tmp_path))  # type: ignore[arg-type]
    plan = _PLAN.model_copy(update={"lexical_candidates": 20})
    answer = await search(Query("5 ab123c", top_k=4), plan, release, Permit(), None)
    # The last rescored of 5, 6, 7, 8 and what words found has the highest logit.
    assert answer.hits[0].score < 1
