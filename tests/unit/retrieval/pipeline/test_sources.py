"""A list of sources, each with its own policy for when it fails or is late; rules that one can follow by hand."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from doubles import FixedLexicalRetriever, make_release

from core.plan import Plan
from engine.protocol import Candidates, DeadlineExceeded, EngineError
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.fusing import fuse
from retrieval.pipeline.lexical import LexicalFailed
from retrieval.pipeline.result import Degradation
from retrieval.pipeline.sources import (
    Completion,
    DenseSource,
    FailurePolicy,
    LexicalSource,
    Source,
    ask_sources,
    search_sources,
)
from retrieval.wire.request import Query


class ListSource:
    """Retrieves these rows; raises the error in place of that, or of its scores of what others retrieved."""

    def __init__(
        self,
        name: str,
        rows: list[int],
        error: Exception | None = None,
        required: bool = False,
        broken: Exception | None = None,
    ) -> None:
        self.name = name
        self.weight = 1.0
        self.policy = FailurePolicy(f"{name.upper()}_FAILED", required, f"{name} failed", f"{name} took too long")
        self.rows, self.error, self.broken = rows, error, broken
        self.cancelled = False

    async def retrieve(self) -> Candidates:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return Candidates(np.array(self.rows, np.int64), np.linspace(1, 0.5, len(self.rows), dtype=np.float32))

    async def complete(self, fusion) -> Completion:
        if self.broken is not None:
            raise self.broken
        scores = fusion.sources[self.name].scores.copy()
        scores[fusion.missing(self.name)] = -1
        return Completion(scores)


@pytest.fixture
def context(tmp_path: Path) -> RequestContext:
    return RequestContext.start(
        Query("5 shoes"), Plan(), make_release(tmp_path, words=FixedLexicalRetriever([30])), None
    )


async def retrieved(context: RequestContext, *sources: Source) -> dict[str, list[int]]:
    lists = await ask_sources(context, sources)
    return {entry.source.name: entry.candidates.rows.tolist() for entry in lists}


async def test_lists_come_in_the_order_of_the_sources(context: RequestContext) -> None:
    lists = await retrieved(context, ListSource("a", [1, 2]), ListSource("b", []), ListSource("c", [2]))
    assert list(lists.items()) == [("a", [1, 2]), ("b", []), ("c", [2])] and not context.result.degraded


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (EngineError("out of order"), "b failed"),
        (LexicalFailed("out of order"), "b failed"),
        (DeadlineExceeded(), "b took too long"),
        (TimeoutError(), "b took too long"),
    ],
)
@pytest.mark.parametrize("required", [False, True])
async def test_a_source_that_fails_is_left_out_and_named(
    context: RequestContext, error: Exception, detail: str, required: bool
) -> None:
    lists = await retrieved(context, ListSource("a", [1]), ListSource("b", [2], error, required), ListSource("c", [3]))
    assert lists == {"a": [1], "c": [3]}
    assert context.result.degraded == [Degradation("B_FAILED", detail, str(error))]


async def test_a_required_source_fails_the_request_where_no_other_retrieved_a_product(context: RequestContext) -> None:
    error = EngineError("gone")
    for others in ([], [ListSource("b", [])], [ListSource("b", [1], LexicalFailed("gone too"))]):
        with pytest.raises(EngineError, match=r"^gone$"):
            await retrieved(context, ListSource("a", [1], error, required=True), *others)
    assert not context.result.degraded


async def test_an_empty_list_is_an_answer_where_only_optional_sources_fail(context: RequestContext) -> None:
    assert await retrieved(context, ListSource("a", []), ListSource("b", [1], EngineError("gone"))) == {"a": []}
    assert [entry.reason for entry in context.result.degraded] == ["B_FAILED"]


async def test_where_all_sources_fail_the_first_error_is_the_requests(context: RequestContext) -> None:
    with pytest.raises(LexicalFailed, match="first"):
        await retrieved(
            context, ListSource("a", [], LexicalFailed("first")), ListSource("b", [], EngineError("second"))
        )


@pytest.mark.parametrize("place", [0, 1])
async def test_a_fault_of_the_program_is_no_failure_of_a_source(context: RequestContext, place: int) -> None:
    sources = [ListSource("a", [1]), ListSource("b", [2])]
    sources[place].error = ZeroDivisionError("oops")
    with pytest.raises(ZeroDivisionError):
        await retrieved(context, *sources)
    assert not context.result.degraded


async def test_a_cancelled_request_cancels_every_source(context: RequestContext) -> None:
    sources = [ListSource(name, [1]) for name in "abc"]
    asking = asyncio.ensure_future(ask_sources(context, sources))
    while len(asyncio.all_tasks()) < 4:  # this test, the request, and a task for each source but the first
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)
    assert sources[0].cancelled and asyncio.all_tasks() == {asyncio.current_task()}


async def test_three_sources_are_fused_and_each_scores_all(context: RequestContext) -> None:
    lists = await ask_sources(context, [ListSource("a", [1, 2]), ListSource("b", [2, 3]), ListSource("c", [3, 2])])
    candidates = await fuse(context, lists)
    # Of ranks 2, 1 and 2; 2 and 1; 1.
    assert candidates.rows.tolist() == [2, 3, 1]
    assert candidates.scores.tolist() == pytest.approx([2 / 62 + 1 / 61, 1 / 62 + 1 / 61, 1 / 61])
    assert {name: one.ranks.tolist() for name, one in candidates.sources.items()} == {
        "a": [2, 0, 1],
        "b": [1, 2, 0],
        "c": [2, 1, 0],
    }
    assert candidates.sources["a"].scores.tolist() == [0.5, -1, 1]
    assert candidates.fused is not None and candidates.fused.ranks.tolist() == [1, 2, 3]


async def test_where_scores_of_others_products_fail_the_first_list_stands_alone(context: RequestContext) -> None:
    sources = [ListSource("a", [1, 2]), ListSource("b", [3], broken=EngineError("no scores")), ListSource("c", [4])]
    candidates = await fuse(context, await ask_sources(context, sources))
    assert candidates.rows.tolist() == [1, 2] and list(candidates.sources) == ["a"] and candidates.fused is None
    # Each list that is left out is named, the whole one too.
    assert context.result.degraded == [
        Degradation(reason, "comparing the sources failed", "no scores") for reason in ("B_FAILED", "C_FAILED")
    ]


async def test_a_search_asks_the_sources_that_release_and_plan_have(context: RequestContext, tmp_path: Path) -> None:
    assert [type(source) for source in search_sources(context)] == [DenseSource, LexicalSource]
    context.plan = Plan(lexical_candidates=0)
    assert [type(source) for source in search_sources(context)] == [DenseSource]
    (tmp_path / "b").mkdir()
    plain = RequestContext.start(Query("5"), Plan(), make_release(tmp_path / "b"), None)
    assert [type(source) for source in search_sources(plain)] == [DenseSource]
    assert DenseSource.policy.required and not LexicalSource.policy.required
