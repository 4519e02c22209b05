"""Which layers stay, that a cut model is one of its kind, and that no row of the teacher's is computed twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import WORDS, write_base
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
from engine.compress import keep_layers, kept_layers, remembered, teacher_checkpoint
from engine.export import quiet_libraries

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


def test_rows_are_computed_once_even_when_cut_off(tmp_path: Path) -> None:
    asked: list[int] = []

    def compute(places: np.ndarray) -> np.ndarray:
        if 3 in places and len(asked) < 4:
            raise KeyboardInterrupt
        asked.extend(places)
        return places.astype(np.float32) * 2

    batches = [np.array([0, 2]), np.array([1, 3]), np.array([4])]
    with pytest.raises(KeyboardInterrupt):
        remembered(tmp_path / "kept" / "rows.npy", (5,), batches, compute, 1)
    assert asked[:2] == [0, 2]
    done = len(asked)
    asked += [-1] * 4
    told: list[tuple[int, int | None]] = []
    found = remembered(tmp_path / "kept" / "rows.npy", (5,), batches, compute, 1, lambda *of: told.append(of))
    assert found.tolist() == [0, 2, 4, 6, 8]
    assert not {0, 2} & {*asked[done + 4 :]} and told[-1] == (5, 5)


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tandem train"):
        teacher_checkpoint(tmp_path, tmp_path / "output")
    with pytest.raises(ModelError, match="another folder"):
        teacher_checkpoint(tmp_path, tmp_path)
