"""What a training starts from: cut to its first dimensions, or with a model for each side; and how that is exported."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from sentence_transformers import SentenceTransformer

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from encoder.train import export
from encoder.train.base import load_base
from encoder.train.export import export_encoder, export_model
from encoder.train.settings import EncoderTraining
from engine.onnx.session import OnnxModel

TEXTS = list(tiny.TEXTS.values())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_base(tmp_path_factory.mktemp("base"))


def load(base: str, **given: Any) -> SentenceTransformer:
    return load_base(EncoderTraining.model_validate({"base": base, **given}))


def vectors(folder: Path, side: Any = "item") -> np.ndarray:
    tower = BiEncoder.open(folder)
    return OnnxModel(tower.model_path(side)).run(tower.tokenize_items(TEXTS))


def exact(model: SentenceTransformer, task: str = "document") -> np.ndarray:
    return model.encode(TEXTS, task=task, normalize_embeddings=True)


def test_first_dimensions_are_exported_as_unit_vectors(base: str, tmp_path: Path) -> None:
    model = load(base, dimensions=8)
    parity = export_model(model, "tiny", tmp_path / "towers", TEXTS)
    assert BiEncoder.open(tmp_path / "towers").spec.dimensions == 8 and parity["cosine_mean"] > 0.98
    assert tiny.rounded_by_texts(tmp_path / "towers" / "model.onnx")
    result = vectors(tmp_path / "towers")
    assert result.shape == (len(TEXTS), 8)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, atol=1e-3)
    whole = load(base).encode(TEXTS)[:, :8]
    assert (result * whole / np.linalg.norm(whole, axis=1, keepdims=True)).sum(axis=1).mean() > 0.98


def test_a_checkpoint_keeps_all_dimensions_and_says_how_many_to_use(base: str, tmp_path: Path) -> None:
    load(base, dimensions=8).save_pretrained(str(tmp_path / "checkpoint"), create_model_card=False)
    again = load(str(tmp_path / "checkpoint"))
    assert again.encode(["kettle"]).shape == (1, 8)
    assert again.encode(["kettle"], truncate_dim=tiny.DIMENSIONS).shape == (1, tiny.DIMENSIONS)
    export_encoder(str(tmp_path / "checkpoint"), tmp_path / "towers", TEXTS)
    assert BiEncoder.open(tmp_path / "towers").spec.dimensions == 8


def test_each_side_may_have_a_model_of_its_own(base: str, tmp_path: Path) -> None:
    model = load(base, shared=False)
    with torch.no_grad():
        for weight in model[0].sub_modules["query"].parameters():
            weight *= 1.1
    np.testing.assert_allclose(exact(model, "document"), exact(load(base)), atol=1e-6)
    assert np.abs(exact(model, "query") - exact(model, "document")).max() > 0.01
    parity = export_model(model, "tiny", tmp_path / "towers", TEXTS)
    assert parity["cosine_mean"] > 0.98
    model.save_pretrained(str(tmp_path / "checkpoint"), create_model_card=False)
    export_encoder(str(tmp_path / "checkpoint"), tmp_path / "again", TEXTS)
    for side, task in (("query", "query"), ("item", "document")):
        result = vectors(tmp_path / "towers", side)
        assert (result * exact(model, task)).sum(axis=1).mean() > 0.98
        np.testing.assert_allclose(vectors(tmp_path / "again", side), result, atol=1e-5)


@pytest.mark.parametrize("spoiled", ["query", "item"])
def test_a_tower_that_int8_spoils_is_refused_on_either_side(
    spoiled: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "write_int8", lambda module, inputs, target, tokens: target.touch())
    monkeypatch.setattr(export, "OnnxModel", lambda path: None)
    monkeypatch.setattr(export, "cosines", lambda model, tower, side, *_: np.full(2, 0.9 if side == spoiled else 1))
    with pytest.raises(ModelError, match=r"mean cosine of 0\.900 .* choose a base model that can be made int8"):
        export_model(load(base, shared=False), "tiny", tmp_path, TEXTS)


def test_a_base_with_two_models_is_not_shared(base: str, tmp_path: Path) -> None:
    load(base, shared=False).save_pretrained(str(tmp_path), create_model_card=False)
    assert set(load(str(tmp_path), shared=False)[0].sub_modules) == {"query", "document"}
    with pytest.raises(ModelError, match="let shared be false"):
        load(str(tmp_path))


@pytest.mark.parametrize("given", [{"dimensions": 64}, {"matryoshka": (8, 64)}])
def test_more_dimensions_than_there_are_are_refused(given: dict[str, Any], base: str) -> None:
    with pytest.raises(ModelError, match="64 dimensions are more than the 32 of the base model"):
        load(base, **given)
