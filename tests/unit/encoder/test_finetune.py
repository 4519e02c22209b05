"""Fine-tuning a tiny model with every option: it trains, exports and loads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from encoder.train.export import load_encoder
from encoder.train.finetune import train_encoder
from encoder.train.settings import EncoderTraining
from engine.onnx.session import OnnxModel
from training.examples import Examples, PairValues
from training.export import CHECKPOINT


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_base(tmp_path_factory.mktemp("base"))


def train(base: str, folder: Path, teacher: PairValues | None = None, **given: Any) -> dict[str, Any]:
    small = {"max_steps": 2, "batch_size": 6, "learning_rate": 5e-3, "evaluations": 1, "threads": 1}
    settings = EncoderTraining.model_validate({"base": base, **small, **given})
    return train_encoder(replace(Examples.split(tiny.TEXTS, tiny.judgments()), teacher=teacher), folder, settings)


@pytest.mark.parametrize(
    "given",
    [
        {"mask_false_negatives": True, "mini_batch": 4, "hardness": 2.0, "negatives": 2},
        {"loss": "graded", "mini_batch": 3, "matryoshka": (8,), "dimensions": 8},
        {"graded": 0.5, "shared": False, "lora": 2, "freeze_embeddings": True, "matryoshka": (16, 8)},
    ],
)
def test_towers_train_with_each_option(given: dict[str, Any], base: str, tmp_path: Path) -> None:
    report = train(base, tmp_path, **given)
    assert report["parity"]["cosine_mean"] > 0.98 and report["loss"]
    tower = BiEncoder.open(tmp_path)
    result = OnnxModel(tower.model_path("item")).run(tower.tokenize_items(list(tiny.TEXTS.values())))
    assert result.shape == (len(tiny.TEXTS), tower.spec.dimensions)
    assert tower.spec.dimensions == given.get("dimensions", tiny.DIMENSIONS)
    assert len(tower.files()) == (4 if given.get("shared") is False else 3)


def test_a_teacher_is_asked_once_a_pair_and_learned_from(base: str, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def teacher(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        asked.extend(zip(queries, texts, strict=True))
        return np.array([len(text) / 20 for text in texts], np.float32)

    losses = [
        train(base, tmp_path / str(distil), teacher, distil=distil, mini_batch=3)["loss"] for distil in (0.0, 2.0)
    ]
    assert len(asked) == len(set(asked)) > 0 and losses[0] != losses[1]
    with pytest.raises(ModelError, match="distil 1 needs the scores of a teacher"):
        train(base, tmp_path / "alone", distil=1.0)


def test_training_ends_when_its_time_is_over_and_is_validated(base: str, tmp_path: Path) -> None:
    report = train(base, tmp_path, max_steps=50, evaluations=1, max_seconds=1e-6)
    assert [entry["step"] for entry in report["validation"]] == [0, 1]
    assert BiEncoder.open(tmp_path).spec.dimensions == tiny.DIMENSIONS


def test_a_share_of_the_weights_before_is_kept(base: str, tmp_path: Path) -> None:
    train(base, tmp_path / "all")
    train(base, tmp_path / "half", keep=0.5)
    checkpoints = [base, *(str(tmp_path / name / CHECKPOINT) for name in ("all", "half"))]
    before, trained, kept = (dict(load_encoder(folder).named_parameters()) for folder in checkpoints)
    moved = max(before, key=lambda name: float((trained[name] - before[name]).detach().abs().max()))
    assert not torch.equal(trained[moved], before[moved])
    torch.testing.assert_close(kept[moved], (before[moved] + trained[moved]) / 2)


def test_weights_are_not_kept_beside_adapters() -> None:
    with pytest.raises(ValueError, match="leave one of them out"):
        EncoderTraining(keep=0.5, lora=2)
