"""Queries that say a price: what costs as much comes first. Product i costs i euros and a cent."""

from pathlib import Path

import numpy as np
import pytest
from doubles import FixedLexicalRetriever, make_release, rows_of

from core.plan import Plan
from ranker.features import FEATURE_NAMES
from ranker.final import FinalSpec
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query
from text.price_bounds import PriceBounds

_WORDS = FEATURE_NAMES.index("title_bm25")
_PLAN = Plan(candidates=10, rerank_depth=4, minimum_rerank=1)


class ByWords:
    """A final score that is BM25 of the title: the higher the row, the more."""

    def __init__(self) -> None:
        self.spec = FinalSpec(features=FEATURE_NAMES, dense_weight=1.0, lexical_weight=1.0, rerank_depth=3, encoder="e")

    def contributions(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        reported = np.zeros_like(table)
        reported[:, _WORDS] = table[:, _WORDS]
        return reported

    def scores(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        return table[:, _WORDS]


async def ask(release: LoadedRelease, text: str, top_k: int = 6, explain: bool = False) -> SearchResult:
    return await search(Query(text, top_k=top_k, explain=explain), _PLAN, release, Permit(), None)


def falling(answer: SearchResult) -> bool:
    scores = [hit.score for hit in answer.hits]
    return scores == sorted(scores, reverse=True)


async def test_what_costs_as_much_comes_first_and_is_rescored_first(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    answer = await ask(release, "5 things between 7 and 10")
    # 7, 8 and 9 cost 7.01 to 9.01; rescored are these and 5, the first of the others; a higher row is more relevant.
    assert [hit.row for hit in answer.hits] == [9, 8, 7, 5, 6, 10]
    assert [hit.stage_score("rescore") is not None for hit in answer.hits] == [True, True, True, True, False, False]
    assert answer.searched_query == "5 things" and falling(answer)


async def test_where_nothing_costs_as_much_all_stay_as_they_are(tmp_path: Path) -> None:
    release = make_release(tmp_path, ranker=False)
    bounded, plain = await ask(release, "5 things under 2"), await ask(release, "5 things")
    assert [hit.row for hit in bounded.hits] == [hit.row for hit in plain.hits] and falling(bounded)


async def test_without_a_ranker_the_order_of_retrieval_is_kept_on_both_sides(tmp_path: Path) -> None:
    answer = await ask(make_release(tmp_path, ranker=False), "5 things over 8 euro")
    assert [hit.row for hit in answer.hits] == [8, 9, 10, 11, 12, 13] and falling(answer)
    answer = await ask(make_release(tmp_path, ranker=False), "5 things under 8 euro")
    assert [hit.row for hit in answer.hits] == [5, 6, 7, 8, 9, 10] and falling(answer)


async def test_the_final_score_gives_way_and_says_so(tmp_path: Path) -> None:
    release = make_release(tmp_path, words=FixedLexicalRetriever([30, 6, 31]), final=ByWords())
    plan = Plan(candidates=4, lexical_candidates=3, rerank_depth=2, minimum_rerank=1)
    query = Query("5 red shoes under 8", top_k=7, explain=True)
    answer = await search(query, plan, release, Permit(), None)
    # 5, 6 and 7 cost less; of those the first trees put 7 and 6 first, which are rescored.
    assert {hit.row for hit in answer.hits[:3]} == {5, 6, 7} and [hit.row for hit in answer.hits[3:5]] == [31, 30]
    assert falling(answer)
    reported = [[reason.feature for reason in hit.contributions] for hit in answer.hits]
    assert ["price_bounds_rule" in features for features in reported] == [False] * 3 + [True] * (len(reported) - 3)


async def test_products_without_a_price_are_not_within(tmp_path: Path) -> None:
    rows = rows_of(40)
    rows[6]["price_micros"] = None
    answer = await ask(make_release(tmp_path, rows=rows, ranker=False), "5 things under 9")
    assert [hit.row for hit in answer.hits][:4] == [5, 7, 8, 6]


@pytest.mark.parametrize(
    ("currency", "text", "result"),
    [
        ("EUR", "mug under $5", False),
        ("EUR", "mug under 5 euro", True),
        ("CAD", "mug under $5", True),
        (None, "mug under $5", True),
    ],
)
def test_another_currency_says_nothing(tmp_path: Path, currency: str | None, text: str, result: bool) -> None:
    release = make_release(tmp_path)
    release.manifest = release.manifest.model_copy(update={"currency": currency})
    rest, bounds = release.price_bounds(text)
    assert (bounds is not None) == result and rest == ("mug" if result else text)
    assert PriceBounds(None, 3_010_000).include(release.view.prices(np.array([3, 5]))).tolist() == [True, False]
