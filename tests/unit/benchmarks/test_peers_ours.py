"""Tandem's own rows: what is served for each, and by which plan."""

import os
import resource
from pathlib import Path

import pytest
from teachers import write_ranker

from benchmarks.peers.ours import APPROXIMATE, SAME, SERVED, copy_without_mixing, peak_mib, variants
from indexer.index_kinds import EXACT
from indexer.models import ModelFolders
from ranker.ranker import Ranker
from retrieval.server.settings import ServeSettings

TEACHERS = ModelFolders(Path("encoder"), Path("teacher"))
STUDENTS = ModelFolders(Path("encoder"), Path("student"), final=Path("final"))


def test_the_peers_models_are_asked_as_peers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    row = variants(TEACHERS, TEACHERS, {}, None, 32)[0]
    assert (row.name, row.models, row.index.kind) == (SAME, TEACHERS, EXACT)
    for depth in (32, 0):
        for name, value in row.plans[depth].items():
            monkeypatch.setenv(name, value)
        plan = ServeSettings().plan
        assert (plan.candidates, plan.lexical_candidates, plan.rerank_depth) == (100, 0, depth)


def test_what_is_served_has_a_row_where_it_is_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row.name for row in variants(TEACHERS, TEACHERS, {}, None, 32)] == [SAME, APPROXIMATE]
    assert [row.name for row in variants(TEACHERS, STUDENTS, {}, None, 32)] == [SAME, SERVED, APPROXIMATE]
    served = variants(TEACHERS, TEACHERS, {"rerank_depth": "16"}, None, 32)[1]
    for name, value in served.plans[32].items():
        monkeypatch.setenv(name, value)
    plan = ServeSettings().plan
    assert plan.rerank_depth == 16 and plan.lexical_candidates > 0


def test_nothing_is_rescored_over_the_approximate_index() -> None:
    row = variants(TEACHERS, STUDENTS, {}, Path("small"), 32)[-1]
    assert row.models == ModelFolders(Path("small"), None) and list(row.plans) == [0]
    assert row.index.kind is None and row.index.exact_budget_ms == 0
    assert variants(TEACHERS, STUDENTS, {}, None, 32)[-1].models.encoder == STUDENTS.encoder


def test_a_process_is_told_the_most_memory_it_had() -> None:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert peak_mib(os.getpid()) == pytest.approx(own, rel=0.05)


def test_the_same_cross_encoder_orders_alone(tmp_path: Path) -> None:
    folder = write_ranker(tmp_path / "ranker")
    alone = copy_without_mixing(folder, tmp_path / "alone")
    assert Ranker.open(alone).mix == 1.0 and Ranker.open(folder).mix < 1.0
    assert (
        not (alone / "checkpoint").exists()
        and (alone / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    )
