"""Which layers stay, and that a cut model is one of its kind."""

from pathlib import Path

import pytest
import torch
from teachers import WORDS, write_base
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
)

from core.errors import ModelError
from training.export import quiet_libraries
from training.layers import keep_layers, kept_layers

IDS = torch.tensor([[2, 40, 41, 3]])


@pytest.mark.parametrize(
    ("total", "count", "places"),
    [(6, 6, [0, 1, 2, 3, 4, 5]), (6, 4, [0, 2, 3, 5]), (6, 3, [0, 2, 5]), (6, 2, [0, 5]), (6, 1, [0]),
     (12, 6, [0, 2, 4, 7, 9, 11])],
)  # fmt: skip
def test_layers_by_hand(total: int, count: int, places: list[int]) -> None:
    assert kept_layers(total, count) == places


@pytest.mark.parametrize("count", [0, 7])
def test_layers_that_are_not_there_are_refused(count: int) -> None:
    with pytest.raises(ModelError, match="1 to 6"):
        kept_layers(6, count)


def test_a_cut_model_is_its_layers_and_loads_again(tmp_path: Path) -> None:
    with quiet_libraries():
        whole, cut = (BertModel.from_pretrained(write_base(tmp_path / "base", "encoder")).eval() for _ in range(2))
        keep_layers(cut, [0, 2, 5])
        cut.save_pretrained(tmp_path / "cut")
        again = AutoModel.from_pretrained(tmp_path / "cut").eval()
    assert again.config.num_hidden_layers == 3
    hidden = whole.embeddings(IDS)
    for place in (0, 2, 5):
        hidden = whole.encoder.layer[place](hidden)
    for model in (cut, again):
        torch.testing.assert_close(model(IDS).last_hidden_state, hidden)


def test_other_kinds_of_encoder_are_cut_too(tmp_path: Path) -> None:
    small = {"vocab_size": len(WORDS), "pad_token_id": 0}
    distil = DistilBertModel(DistilBertConfig(dim=16, n_layers=6, n_heads=2, hidden_dim=32, **small))
    ids = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    config = ModernBertConfig(
        hidden_size=16, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32, **small, **ids
    )
    modern = ModernBertModel(config)
    for model in (distil, modern):
        keep_layers(model.eval(), [0, 3, 5])
        with quiet_libraries():
            model.save_pretrained(tmp_path / model.config.model_type)
            again = AutoModel.from_pretrained(tmp_path / model.config.model_type).eval()
        torch.testing.assert_close(again(IDS).last_hidden_state, model(IDS).last_hidden_state)


def test_a_model_that_shares_its_layers_is_refused() -> None:
    config = AlbertConfig(
        vocab_size=20, embedding_size=8, hidden_size=8, num_hidden_layers=3, num_attention_heads=1, intermediate_size=8
    )
    with pytest.raises(ModelError, match="albert"):
        keep_layers(AlbertModel(config), [0, 2])
