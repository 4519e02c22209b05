"""Keeps a share of the weights from before a training: what it gains in its own shops costs others less.

The mean of the weights before and after often does as well where it was trained as those after, and better elsewhere
(Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). torch is imported when called.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Anchor:
    """The weights of a reference model that another one, of the same shapes, is averaged with."""

    def __init__(self, load: "Callable[[], nn.Module]", share: float) -> None:
        """`share` of what `load` gives goes into each mean, from 0 to 1; with 0 nothing is loaded, and nothing done."""
        self._weights = _weights(load()) if share else {}
        self._share = share

    def average(self, model: "nn.Module") -> None:
        """Writes the mean into the model. Raises ModelError when the two have not the same weights."""
        if not self._share:
            return
        if {name: weight.shape for name, weight in self._weights.items()} != {
            name: weight.shape for name, weight in model.named_parameters()
        }:
            raise ModelError("keep_of: has other weights than the model that is trained; name one of the same shape")
        for name, weight in model.named_parameters():
            weight.data.lerp_(self._weights[name].to(weight), self._share)

    @contextmanager
    def averaged(self, model: "nn.Module") -> Iterator[None]:
        """Applies the mean inside the block, and restores the model's own weights after it."""
        own = _weights(model) if self._share else {}
        self.average(model)
        try:
            yield
        finally:
            for name, weight in own.items():
                model.get_parameter(name).data.copy_(weight)

    def scored(self, score: Callable[[Any], float]) -> Callable[[Any], float]:
        """The same measure, applied to the mean: validation then chooses the best mean."""

        def measured(model: Any) -> float:
            with self.averaged(model):
                return score(model)

        return measured


def _weights(model: "nn.Module") -> "dict[str, Tensor]":
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}
