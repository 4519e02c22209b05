"""Runs a padded batch in parts of like length, so that little padding is computed. torch is imported when called."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Tokens of a part, padding included: enough to keep a core busy.
_BUDGET = 2048


@contextmanager
def grouped_by_length(model: "torch.nn.Module", budget: int = _BUDGET) -> Iterator[None]:
    """Inside, the transformers encoder in `model` computes each batch in parts; its outputs are those of the whole.

    Titles of 19 tokens in the mean reach 40 in a large batch: a padded batch costs twice what its tokens do. A model
    in which no such encoder is found, or that is called with more than token ids, mask and segments, stays unchanged.
    """
    encoder = _encoder(model)
    if encoder is None:
        yield
        return
    whole = encoder.forward

    def forward(
        input_ids: "Tensor | None" = None,
        attention_mask: "Tensor | None" = None,
        token_type_ids: "Tensor | None" = None,
        **more: Any,
    ) -> Any:
        kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        plain = all(value is None or isinstance(value, bool) for value in more.values())
        if input_ids is None or attention_mask is None or attention_mask.dim() != 2 or not plain:
            return whole(input_ids=input_ids, attention_mask=attention_mask, **kinds, **more)
        lengths = attention_mask.sum(dim=1).cpu().numpy()
        parts = list(parts_by_length(lengths, budget))
        left_padded = bool((attention_mask[:, 0] == 0).any())
        if len(parts) == 1 or left_padded or more.get("output_hidden_states") or more.get("output_attentions"):
            return whole(input_ids=input_ids, attention_mask=attention_mask, **kinds, **more)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, **kinds}
        outputs = [
            whole(**{name: value[part, : lengths[part].max()] for name, value in inputs.items()}, **more)
            for part in parts
        ]
        return _joined(outputs, parts, input_ids.shape[1])

    encoder.forward = forward
    try:
        yield
    finally:
        del encoder.forward


def parts_by_length(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Places of rows of these lengths, shortest first; a part has one row, or `budget` tokens at most when padded."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > budget:
            yield order[start:end]
            start = end


def _encoder(model: "torch.nn.Module") -> Any:
    """The innermost transformers model, which gives the hidden states of all tokens."""
    from transformers import PreTrainedModel

    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module.base_model
    return None


def _joined(outputs: list[Any], parts: list[NDArray[np.int64]], length: int) -> Any:
    """One output of the parts': every tensor's rows back in their places, hidden states padded with zeros again."""
    import torch

    back = torch.from_numpy(np.argsort(np.concatenate(parts)))

    def joined(name: str) -> "Tensor":
        values = [output[name] for output in outputs]
        if values[0].dim() == 3:
            values = [torch.nn.functional.pad(value, (0, 0, 0, length - value.shape[1])) for value in values]
        return torch.cat(values)[back]

    return type(outputs[0])(**{name: joined(name) for name, value in outputs[0].items() if value is not None})
