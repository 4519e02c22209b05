"""Which neurons go, by a network worked out by hand, and that what is left is a model of its kind."""

from pathlib import Path

import pytest
import torch
from teachers import write_base
from torch import Tensor, nn
from transformers import AutoModel, BertModel, LlamaConfig, LlamaModel

from core.errors import ModelError
from training import prune
from training.export import quiet_libraries
from training.prune import neuron_importance, prune_neurons

IDS = torch.tensor([[2, 60, 62, 3], [2, 61, 3, 0]])
MASK = (IDS > 0).long()


def model(folder: Path) -> BertModel:
    with quiet_libraries():
        return BertModel.from_pretrained(write_base(folder, "encoder")).eval()


def means(encoder: nn.Module) -> Tensor:
    hidden = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    return (hidden * MASK[..., None]).sum(dim=1) / MASK.sum(dim=1, keepdim=True)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def test_importance_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer()
    layer.first.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    layer.second.weight.data = torch.tensor([[1.0, 2.0, 0.0]])
    monkeypatch.setattr(prune, "layer_list", lambda _: [layer])
    monkeypatch.setattr(prune, "_neurons", lambda _: ("intermediate_size", 3))
    # Two examples of two tokens, added up to one answer each: without neuron 0 they lose 1 + 3 and 0 + 1, without
    # neuron 1 twice 2 + 0 and twice 1 + 1, and nothing without neuron 2.
    x = torch.tensor([[[1.0, 2.0], [3.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]])
    [result] = neuron_importance(layer, lambda batch: layer(batch).sum(dim=(1, 2)), [x])
    assert result.tolist() == [4**2 + 1**2, 4**2 + 4**2, 0]


def test_the_least_important_half_goes(tmp_path: Path) -> None:
    whole, small = model(tmp_path / "a"), model(tmp_path / "b")
    idle = [range(32), range(16, 48), *[range(0, 64, 2)] * 4]
    for encoder in (whole, small):
        for layer, places in zip(encoder.encoder.layer, idle, strict=True):
            layer.output.dense.weight.data[:, list(places)] = 0
    prune_neurons(small, 0.5, lambda _: means(small), [None])
    assert small.config.intermediate_size == 32
    torch.testing.assert_close(means(small), means(whole))
    with quiet_libraries():
        small.save_pretrained(tmp_path / "small")
        again = AutoModel.from_pretrained(tmp_path / "small").eval()
    assert again.encoder.layer[0].intermediate.dense.weight.shape == (32, 32)
    torch.testing.assert_close(means(again), means(small))


def test_what_stays_matters_more_than_what_goes(tmp_path: Path) -> None:
    whole = model(tmp_path)
    scores = neuron_importance(whole, lambda _: means(whole), [None])
    assert [score.shape for score in scores] == [(64,)] * 6 and all((score > 0).all() for score in scores)
    before = means(whole)
    change = []
    for place in (int(scores[5].argmax()), int(scores[5].argmin())):
        kept = whole.encoder.layer[5].output.dense.weight.data[:, place].clone()
        whole.encoder.layer[5].output.dense.weight.data[:, place] = 0
        change.append((means(whole) - before).norm())
        whole.encoder.layer[5].output.dense.weight.data[:, place] = kept
    assert change[0] > 3 * change[1]


def test_other_feed_forward_layers_are_refused() -> None:
    config = LlamaConfig(
        vocab_size=9, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
    )  # fmt: skip
    with pytest.raises(ModelError, match="two matrices"):
        prune_neurons(LlamaModel(config), 0.5, lambda _: torch.zeros(1), [None])
