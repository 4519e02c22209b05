"""The towers' losses by hand, on vectors of two dimensions."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor, nn

from encoder.train.losses import CachedMaskedRankingLoss, MaskedRankingLoss, ranking_loss
from encoder.train.settings import EncoderTraining

LABELS = torch.tensor([7, 3])
QUERIES = [[1.0, 0.0], [0.0, 1.0]]
GOOD = [[1.0, 0.0], [0.6, 0.8]]
POOR = [[0.8, 0.6], [1.0, 0.0]]


class Given(nn.Module):
    """Embeds a feature as itself."""

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        return {"sentence_embedding": features["input_ids"]}

    def __getitem__(self, place: int) -> "Given":
        return self


def mask(*hidden: tuple[int, int]) -> Any:
    """Names every row's own good product, as the real one does, and the hidden ones by row and column."""

    def named(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
        assert rows.tolist() == [7, 3]
        found = np.eye(2, 4, dtype=bool)
        for place in hidden:
            found[place] = True
        return found

    return named


def vectors() -> list[Tensor]:
    return [torch.tensor(values, requires_grad=True) for values in (QUERIES, GOOD, POOR)]


def test_what_is_masked_does_not_count() -> None:
    loss = MaskedRankingLoss(Given(), mask((0, 1), (0, 2), (1, 3)), scale=2.0)
    found = loss.compute_loss_from_embeddings(embeddings := vectors(), LABELS)
    # Query 0: its own 1, then poor 1 with 1. Query 1: its own .8, then good 0 with 0 and poor 0 with .6.
    first = math.log(math.exp(2) + math.exp(2)) - 2
    second = math.log(math.exp(1.6) + math.exp(0) + math.exp(1.2)) - 1.6
    assert found.item() == pytest.approx((first + second) / 2)
    found.backward()
    assert embeddings[0].grad is not None and embeddings[0].grad.isfinite().all()


def test_a_masked_product_gets_no_gradient() -> None:
    loss = MaskedRankingLoss(Given(), mask((0, 2), (1, 2)), scale=2.0)
    loss.compute_loss_from_embeddings(embeddings := vectors(), LABELS).backward()
    poor = embeddings[2].grad
    assert poor is not None and not poor[0].any() and poor[1].any()


def test_with_nothing_masked_it_is_the_librarys() -> None:
    ours = MaskedRankingLoss(Given(), mask(), scale=5.0, hardness_mode="all_negatives", hardness_strength=3.0)
    theirs = MultipleNegativesRankingLoss(Given(), scale=5.0, hardness_mode="all_negatives", hardness_strength=3.0)
    expected = theirs.compute_loss_from_embeddings(vectors(), LABELS)
    assert ours.compute_loss_from_embeddings(vectors(), LABELS).item() == pytest.approx(expected.item())


def test_cached_gradients_are_those_of_the_whole_batch() -> None:
    hidden = mask((0, 3), (1, 0))
    weights = []
    for loss_of in (
        lambda model: MaskedRankingLoss(model, hidden, scale=4.0),
        lambda model: CachedMaskedRankingLoss(model, hidden, mini_batch_size=1, scale=4.0),
    ):
        torch.manual_seed(0)
        layer = nn.Linear(2, 3)

        class Layer(Given):
            def forward(self, features: dict[str, Tensor], layer: nn.Linear = layer, **_: Any) -> dict[str, Tensor]:
                return {"sentence_embedding": layer(features["input_ids"])}

        features = [{"input_ids": torch.tensor(values)} for values in (QUERIES, GOOD, POOR)]
        loss_of(Layer())(features, LABELS).backward()
        assert layer.weight.grad is not None
        weights.append(layer.weight.grad)
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize(
    ("given", "hidden", "kind"),
    [
        ({}, None, MultipleNegativesRankingLoss),
        ({"mini_batch": 4}, None, CachedMultipleNegativesRankingLoss),
        ({}, mask(), MaskedRankingLoss),
        ({"mini_batch": 4, "hardness": 2.0}, mask(), CachedMaskedRankingLoss),
    ],
)
def test_settings_choose_the_loss(given: dict[str, Any], hidden: Any, kind: type) -> None:
    loss = ranking_loss(Given(), EncoderTraining(scale=7.0, **given), hidden)
    assert type(loss) is kind and loss.scale == 7.0
    assert loss.hardness_strength == given.get("hardness", 0.0)


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ValidationError, match="mini_batch 64 is more than batch_size 32"):
        EncoderTraining(mini_batch=64)
