"""A cross-encoder taught by another: it comes closer, goes on where it was cut off, and leaves what training leaves."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from teachers import TEXTS, judgments, pairs, write_ranker

from core.errors import ModelError
from engine.onnx.session import OnnxModel
from ranker.ranker import Ranker
from ranker.train import compress
from ranker.train.compress import (
    DistillationPairs,
    RankerDistillation,
    build_student,
    compute_teacher_logits,
    distil_ranker,
    distillation_examples,
)
from ranker.train.export import load_ranker, write_spec
from training.examples import Examples

SMALL = {"layers": 3, "threads": 1, "evaluations": 4, "learning_rate": 2e-3, "query_tokens": 8, "product_tokens": 8}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Of random weights, one that is easy to learn from on any processor.
    return write_ranker(tmp_path_factory.mktemp("teacher"), seed=2)


def logits(folder: Path) -> np.ndarray:
    return np.array(compute_teacher_logits(Ranker.open(folder), pairs(), folder / "kept", 1))


def material(teacher: Path, table: Any = None) -> DistillationPairs:
    return DistillationPairs(Examples.split(TEXTS, judgments() if table is None else table, "en"), teacher, pairs())


def judged_by(folder: Path) -> Any:
    """Judgments in the teacher's own order, so that validation tells how near the student is."""
    ranker = Ranker.open(folder)
    model = OnnxModel(ranker.model_path)

    def score(query: str, text: str) -> float:
        tokens, segments = ranker.pack(ranker.tokenize_query(query), ranker.tokenize_products([text])[0])
        return float(model.run([tokens], [segments])[0])

    return judgments(score)


@pytest.mark.parametrize("loss", ["mse", "margin", "bce"])
def test_the_student_comes_closer_to_the_teacher(teacher: Path, tmp_path: Path, loss: Any) -> None:
    # A teacher that hardly knows anything has scores that lie close together, so that they teach slowly.
    settings = RankerDistillation(**(SMALL | {"loss": loss, "epochs": 20, "learning_rate": 4e-3}))
    before = build_student(teacher / "checkpoint", settings, pairs())
    assert before.model.config.num_hidden_layers == 3
    report = distil_ranker(material(teacher, judged_by(teacher)), tmp_path / "student", settings)
    goal, reached = logits(teacher), logits(tmp_path / "student")
    untaught = before.predict(pairs(), activation_fn=None, show_progress_bar=False)
    assert np.corrcoef(goal, reached)[0, 1] > np.corrcoef(goal, untaught)[0, 1] + 0.3
    assert report["best"] > report["start"] and report["best_step"] > 0
    assert load_ranker(str(tmp_path / "student/checkpoint")).model.config.num_hidden_layers == 3


def test_it_leaves_what_training_leaves_with_the_limits_of_the_teacher(teacher: Path, tmp_path: Path) -> None:
    output = tmp_path / "student"
    settings = RankerDistillation(**SMALL, max_steps=2)
    report = distil_ranker(material(teacher), output, settings)
    assert {path.name for path in output.iterdir()} >= {"report.json", "ranker.json", "model.onnx", "checkpoint"}
    assert {path.name for path in output.iterdir()} & {"scratch", "teacher"} == set()
    assert json.loads((output / "report.json").read_text()) == report
    assert report["data"]["pairs"] == len(pairs()) and report["teacher"] == Ranker.open(teacher).digest
    spec = Ranker.open(output).spec
    assert (spec.max_query_tokens, spec.base) == (8, "tiny") and spec.slope == report["calibration"]["slope"]


def test_without_what_is_served_the_student_says_as_much_as_its_teacher(teacher: Path, tmp_path: Path) -> None:
    louder = tmp_path / "teacher"
    shutil.copytree(teacher, louder)
    write_spec(louder, Ranker.open(teacher).spec.model_copy(update={"mix": 0.7}))
    report = distil_ranker(material(louder), tmp_path / "student", RankerDistillation(**SMALL, max_steps=1))
    assert Ranker.open(tmp_path / "student").mix == report["mix"]["share"] == 0.7


def test_a_run_that_was_cut_off_goes_on_and_asks_the_teacher_nothing(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RankerDistillation(**SMALL, max_steps=8)
    distil_ranker(material(teacher), tmp_path / "whole", settings)

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil_ranker(material(teacher), tmp_path / "cut", settings, report=stop)
    assert not (tmp_path / "cut/ranker.json").exists()
    steps: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(compress.OnnxModel, "run", _refuse_batches(compress.OnnxModel.run))
        distil_ranker(material(teacher), tmp_path / "cut", settings, report=lambda done, _: steps.append(done))
    assert steps == [5, 6, 7, 8]
    np.testing.assert_array_equal(logits(tmp_path / "cut"), logits(tmp_path / "whole"))


def _refuse_batches(run: Any) -> Any:
    """Calibration and parity ask for pairs one by one; only the teacher is asked for many."""

    def alone(self: Any, tokens: Any, segments: Any = None) -> Any:
        assert len(tokens) == 1, "the teacher was asked again"
        return run(self, tokens, segments)

    return alone


def test_margins_take_each_product_of_a_query() -> None:
    asked = [("a", "1"), ("b", "1"), ("a", "2"), ("a", "3"), ("c", "4")]
    rows = distillation_examples(asked, np.arange(5, dtype=np.float32), RankerDistillation(loss="margin"))
    assert {row["query"] for row in rows} == {"a"} and len(rows) == 2
    assert {row[name] for row in rows for name in ("first", "second")} == {"1", "2", "3"}
    label = {"1": 0.0, "2": 2.0, "3": 3.0}
    assert all(row["label"] == [label[row["first"]], label[row["second"]]] for row in rows)


def test_what_teaches_nothing_is_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no pair"):
        distil_ranker(replace(material(teacher), pairs=[]), tmp_path, RankerDistillation())
    with pytest.raises(ModelError, match="two products"):
        distillation_examples([("a", "1")], np.zeros(1, np.float32), RankerDistillation(loss="margin"))
    with pytest.raises(ModelError, match="1 to 6"):
        distil_ranker(material(teacher), tmp_path, RankerDistillation(layers=7))


def test_a_student_may_be_cut_in_every_way_and_stay_untaught(teacher: Path, tmp_path: Path) -> None:
    shape = {"layers": 4, "ffn_share": 0.5, "trim_vocabulary": True, "epochs": 0}
    settings = RankerDistillation(**(SMALL | shape))
    report = distil_ranker(material(teacher), tmp_path / "student", settings)
    assert report["validation"] == [{"step": 0, "ndcg@10": report["best"]}] and report["loss"] == []
    model = load_ranker(str(tmp_path / "student/checkpoint"))
    config = model.model.config
    assert (config.num_hidden_layers, config.intermediate_size) == (4, 32)
    assert config.vocab_size == len(model.tokenizer) < load_ranker(str(teacher / "checkpoint")).model.config.vocab_size
    assert Ranker.open(tmp_path / "student").vocabulary_size == config.vocab_size
    exact = model.predict(pairs(), activation_fn=torch.nn.Identity(), show_progress_bar=False)
    assert np.corrcoef(logits(tmp_path / "student"), exact)[0, 1] > 0.98
