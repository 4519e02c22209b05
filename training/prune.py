"""Removes the neurons of the feed-forward layers that an encoder's answers depend on least.

Attention heads stay: a config of transformers 5 cannot express that a layer has fewer heads than its width implies, so
that such a model would not load again.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from core.errors import ModelError
from training.layers import layer_list

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

Batch = TypeVar("Batch")

_UNIT = 32  # matrix kernels work through columns in blocks
_SIZES = ("intermediate_size", "hidden_dim")


def prune_neurons(
    encoder: "PreTrainedModel", share: float, run: "Callable[[Batch], torch.Tensor]", batches: Iterable[Batch]
) -> None:
    """Keeps this share of each layer's feed-forward neurons, in steps of 32 at least 32, and updates the config.

    `run` gives an encoder's answers to a batch; see `neuron_importance`. A gated neuron goes with its gate. Raises
    ModelError when a layer has other than two matrices for its neurons.
    """
    import torch
    from transformers.pytorch_utils import prune_linear_layer

    name, size = _neurons(encoder)
    count = min(size, max(_UNIT, round(size * share / _UNIT) * _UNIT))
    scores = neuron_importance(encoder, run, batches)
    for layer, score in zip(layer_list(encoder), scores, strict=True):
        (inner, first), (outer, second) = _matrices(layer, size)
        kept = score.topk(count).indices.sort().values
        rows = torch.cat([kept + start for start in range(0, first.out_features, size)])  # neurons, then their gates
        layer.set_submodule(inner, prune_linear_layer(first, rows, dim=0))
        layer.set_submodule(outer, prune_linear_layer(second, kept, dim=1))
        for part in layer.modules():
            if hasattr(part, name):
                setattr(part, name, count)
    setattr(encoder.config, name, count)


def neuron_importance(
    encoder: "PreTrainedModel", run: "Callable[[Batch], torch.Tensor]", batches: Iterable[Batch]
) -> "list[torch.Tensor]":
    """For each layer how far its neurons move the answers, shape (neurons,).

    To first order, removing a neuron changes an answer by its activation times the answer's gradient, summed over the
    tokens; the importance is the mean square of that over the examples (Molchanov et al. 2019, arXiv 1906.10771; Michel
    et al. 2019, arXiv 1905.10650, for heads). It goes by the answers, shape (n,) or (n, d), and needs no labels: of a
    vector it takes the sum under random signs, whose square is that of the change's length on average.
    """
    import torch

    _, size = _neurons(encoder)
    layers = layer_list(encoder)
    held: dict[int, torch.Tensor] = {}

    def holding(place: int) -> Callable[..., None]:
        return lambda _, inputs: held.update({place: inputs[0]})

    matrices = [_matrices(layer, size)[1][1] for layer in layers]
    hooks = [matrix.register_forward_pre_hook(holding(place)) for place, matrix in enumerate(matrices)]
    scores = [torch.zeros(size) for _ in layers]
    generator = torch.Generator().manual_seed(0)
    encoder.eval()
    try:
        for batch in batches:
            answers = run(batch)
            signs = torch.randint(0, 2, answers.shape, generator=generator) * 2 - 1
            hidden = [held[place] for place in range(len(layers))]
            gradients = torch.autograd.grad((answers * signs).sum(), hidden)
            for score, value, gradient in zip(scores, hidden, gradients, strict=True):
                score += (value * gradient).detach().sum(dim=1).square().sum(dim=0)
    finally:
        for hook in hooks:
            hook.remove()
    return scores


def _neurons(encoder: "PreTrainedModel") -> tuple[str, int]:
    """The config's name for the number of a layer's neurons, and the number."""
    for name in _SIZES:
        if hasattr(encoder.config, name):
            return name, getattr(encoder.config, name)
    raise _other_layers(encoder.config.model_type)


def _matrices(layer: "nn.Module", size: int) -> "tuple[tuple[str, nn.Linear], tuple[str, nn.Linear]]":
    """The matrices into and out of a layer's neurons, with their names. The first has gates too where there are any."""
    from torch import nn

    linear = [(name, part) for name, part in layer.named_modules() if isinstance(part, nn.Linear)]
    inner = [entry for entry in linear if entry[1].out_features == size]
    outer = [entry for entry in linear if entry[1].in_features == size]
    if not inner and len(outer) == 1:  # as wide as another matrix, it may be: it stands beside the second
        beside = outer[0][0].rpartition(".")[0]
        inner = [(name, part) for name, part in linear if name.rpartition(".")[0] == beside]
        inner = [entry for entry in inner if entry[1].out_features == 2 * size]
    if len(inner) != 1 or len(outer) != 1:
        raise _other_layers(type(layer).__name__)
    return inner[0], outer[0]


def _other_layers(kind: str) -> ModelError:
    return ModelError(f"{kind}: has no feed-forward layer of two matrices to prune; keep all of its neurons")
