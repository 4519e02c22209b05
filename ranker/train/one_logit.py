"""One logit a pair of any cross-encoder: of a head of two classes, the difference of their logits.

The softmax of two logits depends on their difference alone, so that no score and no order is lost.
"""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import nn
from transformers import AutoConfig

from core.errors import ModelError

_MODULES = "modules.json"
_CLASSIFIER = "ForSequenceClassification"
# Where the first class has such a name and the second has none, the first is the one that answers.
_YES = frozenset({"relevant", "yes", "true", "match", "positive", "entailment"})


def classes(location: str) -> int | None:
    """The classes of a saved head: 1 of a plain encoder, which gets a fresh one; None where modules make the score.

    Raises ModelError for a head of more than two classes, and for a model that generates text.
    """
    if (Path(location) / _MODULES).is_file():
        return None
    config = AutoConfig.from_pretrained(location)
    kinds: list[str] = config.architectures or []
    if any(kind.endswith("ForCausalLM") for kind in kinds):
        raise ModelError(f"{location}: generates text; choose a cross-encoder with a head of one or two logits")
    count = config.num_labels if any(kind.endswith(_CLASSIFIER) for kind in kinds) else 1
    if count > 2:
        raise ModelError(f"{location}: gives {count} logits a pair; choose a cross-encoder with one or two")
    return count


def give_one_logit(model: CrossEncoder, location: str) -> None:
    """Replaces a last layer of two outputs by one of their difference. Raises ModelError for other heads."""
    count = _width(model)
    if count == 1:
        return
    layers = [
        (name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear) and part.out_features == 2
    ]
    if count != 2 or len(layers) != 1:
        raise ModelError(f"{location}: gives {count} logits a pair; choose a cross-encoder with one or two")
    name, layer = layers[0]
    sign = -1.0 if _first_answers(model.config) else 1.0
    single = nn.Linear(layer.in_features, 1, bias=layer.bias is not None)
    with torch.no_grad():
        single.weight.copy_(sign * (layer.weight[1:] - layer.weight[:1]))
        if layer.bias is not None:
            single.bias.copy_(sign * (layer.bias[1:] - layer.bias[:1]))
    model.set_submodule(name, single)
    model.config.num_labels = 1
    for part in list(model.modules())[1:]:
        if getattr(part, "num_labels", None) == 2:
            part.num_labels = 1
        if getattr(part, "out_features", None) == 2:  # a module of sentence-transformers around the layer
            part.out_features = 1
    model.activation_fn = nn.Sigmoid()


def _width(model: CrossEncoder) -> int:
    with torch.no_grad():
        scores = model.eval()(model.preprocess([("a", "a")]))["scores"]
    return int(scores.shape[-1]) if scores.dim() > 1 else 1


def _first_answers(config: Any) -> bool:
    names = [str(config.id2label.get(place, "")).lower() for place in (0, 1)]
    return names[0] in _YES and names[1] not in _YES
