"""Fewer transformer layers of an encoder that transformers loads. torch is imported when called."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_LISTS = ("layer", "layers")


def kept_layers(total: int, count: int) -> list[int]:
    """Places of `count` of `total` layers, evenly spread, the first and the last among them.

    Raises ModelError when there are not so many.
    """
    if not 1 <= count <= total:
        raise ModelError(f"{count} of {total} layers cannot be kept; choose 1 to {total}")
    return [round(place) for place in np.linspace(0, total - 1, count)]


def keep_layers(encoder: "PreTrainedModel", places: Sequence[int]) -> None:
    """Removes all other transformer layers and updates the config, so that the model saves and loads like any other.

    Raises ModelError; see `layer_list`.
    """
    config = encoder.config
    total = config.num_hidden_layers
    stack = layer_list(encoder)
    layers = [stack[place] for place in places]
    del stack[:]
    for place, layer in enumerate(layers):
        stack.append(layer)
        parts: Iterable[Any] = layer.modules()
        for part in parts:
            if hasattr(part, "layer_idx"):
                part.layer_idx = place
    config.num_hidden_layers = len(layers)
    if len(getattr(config, "layer_types", None) or ()) == total:
        config.layer_types = [config.layer_types[place] for place in places]


def layer_list(encoder: "PreTrainedModel") -> "nn.ModuleList":
    """The transformer layers, first to last. Raises ModelError when they are not one list, as shared ones are not."""
    from torch import nn

    config = encoder.config
    lists = [
        module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in _LISTS
    ]
    if len(lists) != 1 or len(lists[0]) != config.num_hidden_layers:
        raise ModelError(f"a model of type {config.model_type} has no single list of its layers; choose another base")
    return lists[0]
