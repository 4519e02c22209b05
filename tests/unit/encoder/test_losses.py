"""The towers' losses by hand, on vectors of two dimensions."""

import math
from contextlib import nullcontext
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

from encoder.train.losses import (
    CachedGradedLoss,
    CachedRowsLoss,
    GradedLoss,
    RowsLoss,
    RowSupervision,
    add_matryoshka,
    graded_loss,
    rows_loss,
)
from encoder.train.settings import EncoderTraining

LABELS = torch.tensor([7, 3])
QUERIES = [[1.0, 0.0], [0.0, 1.0]]
GOOD = [[1.0, 0.0], [0.6, 0.8]]
POOR = [[0.8, 0.6], [1.0, 0.0]]


class FixedModel(nn.Module):
    """Embeds a feature as itself."""

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        return {"sentence_embedding": features["input_ids"]}

    def __getitem__(self, place: int) -> "FixedModel":
        return self

    def get_embedding_dimension(self) -> int:
        return 2

    def truncate_embeddings(self, dimensions: int | None) -> Any:
        return nullcontext()


class Layer(FixedModel):
    """Embeds by one matrix, the same each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 3)

    def get_embedding_dimension(self) -> int:
        return 3

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        return {"sentence_embedding": self.layer(features["input_ids"])}


def mask(*hidden: tuple[int, int]) -> Any:
    """Names every row's own good product, as the real one does, and the hidden ones by row and column."""

    def named(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
        assert rows.tolist() == [7, 3]
        result = np.eye(2, 4, dtype=bool)
        for place in hidden:
            result[place] = True
        return result

    return named


def vectors() -> list[Tensor]:
    return [torch.tensor(values, requires_grad=True) for values in (QUERIES, GOOD, POOR)]


def test_what_is_masked_does_not_count() -> None:
    loss = RowsLoss(FixedModel(), RowSupervision(mask((0, 1), (0, 2), (1, 3))), scale=2.0)
    result = loss.compute_loss_from_embeddings(embeddings := vectors(), LABELS)
    # Query 0: its own 1, then poor 1 with 1. Query 1: its own .8, then good 0 with 0 and poor 0 with .6.
    first = math.log(math.exp(2) + math.exp(2)) - 2
    second = math.log(math.exp(1.6) + math.exp(0) + math.exp(1.2)) - 1.6
    assert result.item() == pytest.approx((first + second) / 2)
    result.backward()
    assert embeddings[0].grad is not None and embeddings[0].grad.isfinite().all()


def test_a_masked_product_gets_no_gradient() -> None:
    loss = RowsLoss(FixedModel(), RowSupervision(mask((0, 2), (1, 2))), scale=2.0)
    loss.compute_loss_from_embeddings(embeddings := vectors(), LABELS).backward()
    poor = embeddings[2].grad
    assert poor is not None and not poor[0].any() and poor[1].any()


def test_with_nothing_masked_it_is_the_librarys() -> None:
    ours = RowsLoss(
        FixedModel(), RowSupervision(mask()), scale=5.0, hardness_mode="all_negatives", hardness_strength=3.0
    )
    theirs = MultipleNegativesRankingLoss(FixedModel(), scale=5.0, hardness_mode="all_negatives", hardness_strength=3.0)
    expected = theirs.compute_loss_from_embeddings(vectors(), LABELS)
    assert ours.compute_loss_from_embeddings(vectors(), LABELS).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("first", [None, 2])
def test_cached_gradients_are_those_of_the_whole_batch(first: int | None) -> None:
    known = RowSupervision(mask((0, 3), (1, 0)), teacher((0, 0.2), (0.9, 0.1)))
    weights = []
    for mini_batch in (None, 1):
        model = Layer()
        settings = EncoderTraining(scale=4.0, mini_batch=mini_batch, distil=0.5, matryoshka=(first,) if first else ())
        loss = add_matryoshka(model, rows_loss(model, settings, known), settings)
        loss([{"input_ids": torch.tensor(values)} for values in (QUERIES, GOOD, POOR)], LABELS).backward()
        assert model.layer.weight.grad is not None
        weights.append(model.layer.weight.grad)
    torch.testing.assert_close(*weights)


def teacher(*scores: tuple[float, float]) -> np.ndarray:
    """Scores of the rows 7 and 3, in this order; the others' are never looked at."""
    result = np.full((8, 2), np.nan, np.float32)
    result[[7, 3]] = scores
    return result


def test_the_divergence_from_the_teacher_is_added() -> None:
    options = {"scale": 2.0, "distil": 3.0, "temperature": 0.5}
    loss = RowsLoss(FixedModel(), RowSupervision(None, teacher((1.0, 0.5), (0.25, 0.5))), **options)
    plain = MultipleNegativesRankingLoss(FixedModel(), scale=2.0).compute_loss_from_embeddings(vectors(), LABELS)
    # Two candidates a row: the softmax is a sigmoid of differences, of cosines times 2 and of scores over 0.5.
    divergence = 0.0
    for cosines, scores in (((1.0, 0.8), (1.0, 0.5)), ((0.8, 0.0), (0.25, 0.5))):
        student, wanted = sigmoid(2 * (cosines[0] - cosines[1])), sigmoid((scores[0] - scores[1]) / 0.5)
        divergence += wanted * math.log(wanted / student) + (1 - wanted) * math.log((1 - wanted) / (1 - student))
    result = loss.compute_loss_from_embeddings(vectors(), LABELS)
    assert result.item() == pytest.approx(plain.item() + 3.0 * divergence / 2, rel=1e-5)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("mini_batch", [None, 1])
def test_pairs_graded_higher_are_to_have_higher_cosines(mini_batch: int | None) -> None:
    loss = graded_loss(FixedModel(), EncoderTraining(scale=2.0, mini_batch=mini_batch), weight=0.5)
    assert type(loss) is (GradedLoss if mini_batch is None else CachedGradedLoss)
    queries = torch.tensor([[1.0, 0.0]] * 3)
    products = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], requires_grad=True)  # cosines 1, .6 and 0
    labels = torch.tensor([0.5, 1.0, 0.5])  # only the second is graded higher than others
    result = loss([{"input_ids": queries}, {"input_ids": products}], labels)
    wanted = 0.5 * math.log(1 + math.exp(2 * (1.0 - 0.6)) + math.exp(2 * (0.0 - 0.6)))
    assert result.item() == pytest.approx(wanted)


def test_first_dimensions_have_a_loss_of_their_own() -> None:
    settings = EncoderTraining(scale=2.0, matryoshka=(1,))
    loss = add_matryoshka(FixedModel(), rows_loss(FixedModel(), settings, RowSupervision()), settings)
    assert loss.matryoshka_dims == (2, 1)
    assert add_matryoshka(FixedModel(), loss, EncoderTraining()) is loss


@pytest.mark.parametrize(
    ("given", "known", "kind"),
    [
        ({}, RowSupervision(), MultipleNegativesRankingLoss),
        ({"mini_batch": 4}, RowSupervision(), CachedMultipleNegativesRankingLoss),
        ({}, RowSupervision(mask()), RowsLoss),
        ({}, RowSupervision(None, teacher((1, 0), (1, 0))), RowsLoss),
        ({"mini_batch": 4, "hardness": 2.0}, RowSupervision(mask()), CachedRowsLoss),
    ],
)
def test_settings_choose_the_loss(given: dict[str, Any], known: RowSupervision, kind: type) -> None:
    loss = rows_loss(FixedModel(), EncoderTraining(scale=7.0, **given), known)
    assert type(loss) is kind and loss.scale == 7.0
    assert loss.hardness_strength == given.get("hardness", 0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mini_batch": 64}, "mini_batch 64 is more than batch_size 32"),
        ({"loss": "graded", "hardness": 1.0, "graded": 0.5}, "no use for hardness, graded"),
        ({"distil": 1.0, "negatives": 0}, "distil compares a good product with its negatives"),
        ({"matryoshka": (64, 128), "dimensions": 96}, "dimensions 96 is none that matryoshka trains"),
        ({"matryoshka": (0,)}, "greater than 0"),
    ],
)
def test_settings_that_contradict_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EncoderTraining.model_validate(given)
