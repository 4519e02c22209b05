"""Weights kept from before a training."""

import pytest
import torch
from torch import nn

from core.errors import ModelError
from training.averaging import Anchor


def linear(*weights: float) -> nn.Linear:
    model = nn.Linear(len(weights), 1, bias=False)
    model.weight.data = torch.tensor([weights])
    return model


def test_the_mean_is_measured_and_the_model_goes_on_as_it_was() -> None:
    model, seen = linear(5.0, 1.0), []

    def score(current: nn.Linear) -> float:
        seen.append(current.weight.tolist())
        return 0.5

    anchor = Anchor(lambda: linear(1.0, 1.0), 0.25)
    assert anchor.scored(score)(model) == 0.5
    assert seen == [[[4.0, 1.0]]]  # a quarter of 1 and three of 5
    assert model.weight.tolist() == [[5.0, 1.0]]
    anchor.average(model)
    assert model.weight.tolist() == [[4.0, 1.0]]


def test_a_measure_that_fails_leaves_the_model_as_it_was() -> None:
    model = linear(5.0)

    def score(current: nn.Linear) -> float:
        raise ValueError

    with pytest.raises(ValueError):
        Anchor(lambda: linear(1.0), 0.5).scored(score)(model)
    assert model.weight.tolist() == [[5.0]]


def test_without_a_share_nothing_is_loaded() -> None:
    def load() -> nn.Linear:
        raise AssertionError

    model = linear(5.0)
    anchor = Anchor(load, 0.0)
    anchor.average(model)
    assert anchor.scored(lambda current: current.weight.item())(model) == 5.0


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelError, match="keep_of: has other weights"):
        Anchor(lambda: linear(1.0, 2.0), 0.5).average(linear(1.0))
