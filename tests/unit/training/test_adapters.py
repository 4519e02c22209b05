"""Adapters: what is trained with them, and that merging leaves the plain model with the same outputs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification

from core.errors import ModelError
from training import adapters
from training.adapters import add_adapters, freeze_embeddings, merge_adapters

IDS = torch.tensor([[2, 5, 6, 3], [2, 8, 3, 0]])


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """One whose model is a tiny cross-encoder; the rest of it is not looked at."""
    return SimpleNamespace(model=AutoModelForSequenceClassification.from_pretrained(tiny.write_ranker_base(tmp_path)))


def logits(trainer: Any) -> torch.Tensor:
    with torch.no_grad():
        return trainer.model.eval()(IDS).logits


def test_adapters_and_the_head_are_trained_and_nothing_else(trainer: Any) -> None:
    before = logits(trainer)
    add_adapters(trainer, rank=2, alpha=4.0, dropout=0.0)
    torch.testing.assert_close(logits(trainer), before)  # B is zero at first
    names = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert {name for name in names if "lora_" not in name} == {"classifier.weight", "classifier.bias"}
    assert "bert.encoder.layer.0.attention.self.query.lora_A.default.weight" in names
    query = trainer.model.bert.encoder.layer[0].attention.self.query
    assert query.lora_A["default"].weight.shape == (2, tiny.DIMENSIONS)


def test_merged_adapters_are_added_to_their_layers(trainer: Any) -> None:
    plain = set(trainer.model.state_dict())
    before = trainer.model.bert.encoder.layer[1].output.dense.weight.clone()
    result = add_adapters(trainer, rank=2, alpha=4.0, dropout=0.0)
    layer = trainer.model.bert.encoder.layer[1].output.dense
    layer.lora_B["default"].weight.data.fill_(0.1)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = before + 4.0 / 2 * b @ a
    adapted = logits(trainer)
    merge_adapters(result)
    assert set(trainer.model.state_dict()) == plain and not hasattr(trainer.model.bert, "peft_config")
    torch.testing.assert_close(trainer.model.bert.encoder.layer[1].output.dense.weight, expected)
    torch.testing.assert_close(logits(trainer), adapted, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_brings_adapters_back(trainer: Any, tmp_path: Path) -> None:
    add_adapters(trainer, rank=2, alpha=4.0, dropout=0.0)
    weight = trainer.model.bert.encoder.layer[0].attention.self.value.lora_B["default"].weight
    weight.data.fill_(0.3)
    trainer._save(str(tmp_path / "checkpoint-1"))
    weight.data.zero_()
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert (weight == 0.3).all()


def test_frozen_words_get_no_gradient(trainer: Any) -> None:
    freeze_embeddings(trainer.model)
    frozen = [name for name, weight in trainer.model.named_parameters() if not weight.requires_grad]
    assert frozen == ["bert.embeddings.word_embeddings.weight"]


def test_without_peft_one_line_says_what_to_install(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"adapters \(lora\) need peft: pip install 'tandem-retrieval\[train\]'"):
        add_adapters(trainer, rank=2, alpha=4.0, dropout=0.0)


def test_a_base_without_layers_gets_none() -> None:
    table = SimpleNamespace(model=torch.nn.Sequential(torch.nn.EmbeddingBag(4, 2)))
    with pytest.raises(ModelError, match="without layers to put adapters"):
        add_adapters(table, rank=2, alpha=4.0, dropout=0.0)  # type: ignore[arg-type]
