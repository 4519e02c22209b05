"""Training the final score of a release, on the doubles: the towers find 5, 6, 7, ... and words what is told."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import product
from doubles import FixedLexicalRetriever, make_release

from core.errors import FeedError, ReleaseError
from core.progress import Silent
from core.releases import ReleaseStore
from evaluation.judgments import JUDGMENTS_SCHEMA
from lifecycle.final_score import train as module
from lifecycle.final_score.train import train_final
from ranker.features import TREE_FEATURES
from ranker.final import FinalScore
from ranker.train.final import FinalTraining

SETTINGS = FinalTraining(candidates=10, rerank_depth=5, leaves=3, least=1, rounds=10, patience=5, folds=3, threads=1)
QUERIES = [f"{number} things" for number in range(12)]


def opened(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: FixedLexicalRetriever | None,
    rows: list[dict[str, Any]] | None = None,
) -> None:
    release = make_release(folder, rows, words=words)
    release.tower.digest, release.ranker.digest = "towers", "ranker"  # type: ignore
    place = SimpleNamespace()
    monkeypatch.setattr(module, "find_release", lambda *_: place)
    monkeypatch.setattr(module, "open_place", lambda given: release if given is place else None)


def judgments(folder: Path, queries: list[str] = QUERIES, split: str = "valid") -> Path:
    """The product two places after the query's number is good, the one at it is poor."""
    rows = []
    for query in queries:
        number = int(query.split()[0])
        rows += [(query, f"p{number + 2}", 3.0, split), (query, f"p{number}", 0.0, split)]
    path = folder / "judgments.parquet"
    pq.write_table(pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA), path)
    return path


def test_a_final_score_is_learned_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path, monkeypatch, FixedLexicalRetriever([30, 31]))
    output = tmp_path / "final"
    outcome = train_final(ReleaseStore(tmp_path), "shop", judgments(tmp_path), "valid", output, SETTINGS, Silent())
    score = FinalScore.open(output)
    assert score.spec == outcome.spec and score.spec.features == TREE_FEATURES
    assert (score.spec.encoder, score.spec.ranker) == ("towers", "ranker")
    assert list(outcome.summary) == ["fused", "fused, reranked", "final without the cross-encoder", "final"]
    assert {estimate.queries for estimate in outcome.summary.values()} == {len(QUERIES)}
    assert score.spec.report["queries"] == len(QUERIES)
    assert score.spec.rerank_depth in (0, 1, 5)
    assert score.spec.report["held out"]["final"]["mean"] == pytest.approx(outcome.summary["final"].mean)
    # The towers have the good product third: 1/log2(4), unless words, which never have it, come between.
    assert score.spec.lexical_weight == 0
    assert outcome.summary["fused"].mean == pytest.approx(0.5)


def test_popular_products_come_first_where_that_is_what_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third product sells; of those, the towers have the good one first, as the third of all."""
    rows = [product(f"p{i}", popularity=float(i % 3 == 2)) for i in range(48)]
    opened(tmp_path, monkeypatch, FixedLexicalRetriever([46, 47]), rows)
    given = judgments(tmp_path, [f"{number} things" for number in range(0, 36, 3)])
    outcome = train_final(ReleaseStore(tmp_path), "shop", given, "valid", tmp_path / "final", SETTINGS, Silent())
    assert outcome.summary["fused"].mean == pytest.approx(0.5)
    assert outcome.summary["final without the cross-encoder"].mean == 1


def test_a_release_without_words_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path, monkeypatch, None)
    with pytest.raises(ReleaseError, match="has no lexical index; run `tandem index` again first"):
        train_final(
            ReleaseStore(tmp_path), "shop", judgments(tmp_path), "valid", tmp_path / "final", SETTINGS, Silent()
        )


def test_a_split_with_few_queries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path, monkeypatch, FixedLexicalRetriever([1]))
    few = judgments(tmp_path, QUERIES[:9])
    for split, count in (("valid", 9), ("test", 0)):
        with pytest.raises(FeedError, match=f"split '{split}' has {count} queries"):
            train_final(ReleaseStore(tmp_path), "shop", few, split, tmp_path / "final", SETTINGS, Silent())
    assert not (tmp_path / "final").exists()
