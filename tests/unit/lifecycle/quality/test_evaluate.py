"""Evaluation through the search code, on the fake engine, against numbers worked by hand."""

import asyncio
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from doubles import FixedLexicalRetriever, make_release, rows_of

from core.errors import FeedError
from core.plan import Plan
from core.progress import ignore
from evaluation.judgments import JUDGMENTS_SCHEMA
from lifecycle.quality import evaluate as module
from lifecycle.quality.evaluate import FUSED, RERANKED, RETRIEVED, WORDS, Evaluation, evaluate


def judgments(*rows: tuple[str, str, float, str]) -> pa.Table:
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Evaluation, list[str]]:
    """Five products in the engine's order of retrieval; the cross-encoder turns the first three around."""
    release = make_release(tmp_path, rows_of(5), logits=[1, 2, 3, 4, 5])
    monkeypatch.setattr(module, "_embed", lambda _release, rows: np.array([[-float(row)] for row in rows], np.float32))
    ids = release.columns.ids()
    text = "1 thing"
    first = int(release.tower.tokenize_queries([text])[0][0]) % 5
    order = [ids[(first + place) % 5] for place in range(5)]
    table = judgments((text, order[0], 3.0, "test"), (text, order[1], 0.0, "test"), ("other", order[0], 3.0, "train"))
    result = asyncio.run(evaluate(release, table, "test", Plan(candidates=5, rerank_depth=0), None, ignore))
    return result, order


def test_the_first_place_is_worth_everything(measured: tuple[Evaluation, list[str]]) -> None:
    values = measured[0].values[RETRIEVED]
    assert values["nDCG@10"] == {"1 thing": pytest.approx(1.0)}
    assert values["MRR@10"] == {"1 thing": 1.0}
    assert values["recall@100"] == {"1 thing": 1.0}
    assert values["judged@10"] == {"1 thing": pytest.approx(2 / 5)}


def test_the_pool_is_ordered_by_similarity(measured: tuple[Evaluation, list[str]]) -> None:
    # Vectors are minus the row, the query's is 1: of rows 1 (grade 3) and 2 (grade 0) the first is the more similar.
    assert measured[0].values[RETRIEVED]["pool nDCG@10"] == {"1 thing": pytest.approx(1.0)}


def test_only_the_split_is_asked(measured: tuple[Evaluation, list[str]]) -> None:
    assert set(measured[0].values[RETRIEVED]["nDCG@10"]) == {"1 thing"}


def test_a_random_order_of_the_pool_is_told(measured: tuple[Evaluation, list[str]]) -> None:
    # Two products, gains 7 and 0: either order is as likely.
    expected = (1 + 1 / math.log2(3)) / 2
    assert measured[0].values["random order"]["pool nDCG@10"] == {"1 thing": pytest.approx(expected)}


def test_stages_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = make_release(tmp_path, rows_of(5), logits=[1, 2, 3, 4, 5])
    monkeypatch.setattr(module, "_embed", lambda _release, rows: np.array([[-float(row)] for row in rows], np.float32))
    ids = release.columns.ids()
    text = "1 thing"
    first = int(release.tower.tokenize_queries([text])[0][0]) % 5
    order = [(first + place) % 5 for place in range(5)]
    reranked = sorted(order, key=lambda row: -(row + 1))  # logits rise with the row
    table = judgments((text, ids[order[0]], 3.0, "test"), (text, ids[order[1]], 0.0, "test"))
    result = asyncio.run(evaluate(release, table, "test", Plan(candidates=5, rerank_depth=5), None, ignore))
    place = reranked.index(order[0]) + 1
    assert result.values[RETRIEVED]["MRR@10"] == {"1 thing": 1.0}
    assert result.values[RERANKED]["MRR@10"] == {"1 thing": pytest.approx(1 / place)}
    assert result.values[RERANKED]["nDCG@10"] == {"1 thing": pytest.approx(1 / math.log2(place + 1), abs=1e-3)}


@pytest.mark.parametrize(
    ("split", "product", "message"), [("valid", "p0", "no query"), ("test", "zz", "none of the judged")]
)
def test_what_cannot_be_measured_is_one_line(tmp_path: Path, split: str, product: str, message: str) -> None:
    release = make_release(tmp_path, rows_of(2), logits=[1, 2])
    table = judgments(("one", product, 1.0, "test"), ("two", product, 0.0, "test"))
    with pytest.raises(FeedError, match=message):
        asyncio.run(evaluate(release, table, split, Plan(), None, ignore))


def test_each_source_and_both_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The towers find p1, p2, p3, ...; words find p4 and p1. Fused: p1 by both, then p4 by rank 1 of words.
    release = make_release(tmp_path, rows_of(5), ranker=False, words=FixedLexicalRetriever([4, 1]))
    monkeypatch.setattr(module, "_embed", lambda _release, rows: np.array([[-float(row)] for row in rows], np.float32))
    table = judgments(("1 thing", "p4", 3.0, "test"), ("1 thing", "p1", 0.0, "test"))
    result = asyncio.run(evaluate(release, table, "test", Plan(candidates=5), None, ignore))
    assert result.served == FUSED
    assert result.rankings[RETRIEVED]["1 thing"] == ["p1", "p2", "p3", "p4", "p0"]
    assert result.rankings[WORDS]["1 thing"] == ["p4", "p1"]
    assert result.rankings[FUSED]["1 thing"] == ["p1", "p4", "p2", "p3", "p0"]
    assert [result.values[stage]["MRR@10"]["1 thing"] for stage in (RETRIEVED, WORDS, FUSED)] == [1 / 4, 1, 1 / 2]
    # In the pool, similarity goes by minus the row and words by the row: each has another first, the first given wins.
    assert result.scores[WORDS]["1 thing"] == {"p4": 2.5, "p1": 1.0}
    assert result.scores[FUSED]["1 thing"] == pytest.approx({"p4": 1 / 61 + 1 / 62, "p1": 1 / 61 + 1 / 62})
    assert RERANKED not in result.values
