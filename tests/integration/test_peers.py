"""The comparison with the straightforward program, whole: other peers need environments too large for a test."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from shops import COLORS, THINGS, write_feed, write_rows

from benchmarks.peers.__main__ import main
from benchmarks.peers.environments import PLAIN
from benchmarks.peers.ours import APPROXIMATE, SAME, SERVED
from benchmarks.peers.table import RESCORED, RETRIEVED
from encoder.train.export import load_encoder
from indexer.models import ModelFolders
from ranker.train.export import load_ranker


def judge(path: Path) -> Path:
    """Six queries, each naming one colour and thing."""
    rows = []
    for number, thing in enumerate(THINGS):
        color = COLORS[number % len(COLORS)]
        for place, other in enumerate(COLORS):
            grade = 3.0 if other == color else 1.0
            product = f"p-{number * len(COLORS) + place}"
            rows.append({"query": f"{color} {thing}", "product_id": product, "grade": grade, "split": "test"})
    return write_rows(path, rows)


@pytest.fixture
def trained(models: ModelFolders, tmp_path: Path) -> ModelFolders:
    """The session's models with the checkpoints that training would have left."""
    assert models.ranker is not None
    encoder, ranker = (Path(shutil.copytree(path, tmp_path / path.name)) for path in (models.encoder, models.ranker))
    load_encoder(None).save(str(encoder / "checkpoint"))
    load_ranker(None).save(str(ranker / "checkpoint"))
    return ModelFolders(encoder, ranker)


def test_tandem_and_the_straightforward_program_answer_the_same(
    trained: ModelFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[Any] = ["--catalog", write_feed(tmp_path / "feed.jsonl", "p-"), "--encoder", trained.encoder]
    arguments += ["--judgments", judge(tmp_path / "judgments.jsonl"), "--ranker", trained.ranker]
    arguments += ["--peers", PLAIN.name, "--in-place", "--work", tmp_path / "work", "--output", tmp_path]
    arguments += ["--seconds", "0.5", "--depth", "8", "--plan", "rerank_depth=4", "lexical_candidates=30"]
    monkeypatch.setattr(sys, "argv", ["peers", *map(str, arguments)])
    main()
    results = json.loads((tmp_path / "peers.json").read_text())["results"]
    rescored, retrieved = results[RESCORED]["rows"], results[RETRIEVED]["rows"]
    assert results["failed"] == {}
    assert list(rescored) == [PLAIN.name, SAME, SERVED] and list(retrieved) == [PLAIN.name, SAME, APPROXIMATE]
    # int8 may turn neighbours round; another model, length or text would do more.
    assert retrieved[SAME]["quality"]["overlap"] > 0.85
    assert rescored[SAME]["quality"]["overlap"] > 0.85
    assert min(row["quality"]["ndcg"] for row in retrieved.values()) > 0.9
    for row in (*rescored.values(), *retrieved.values()):
        assert [speed["queries_per_s"] > 0 for speed in row["speeds"].values()] == [True, True]
        assert row["quality"]["queries"] == len(THINGS)
    assert rescored[SAME]["speeds"]["8"]["client_cores"] is not None and rescored[SAME]["ready_seconds"] > 0
    assert rescored[PLAIN.name]["speeds"]["8"]["client_cores"] is None
