"""The losses of an order on two products, by hand; their logits are those that a double gives."""

import math

import pytest
import torch
from torch import Tensor, nn

from ranker.train.losses import make_loss, rows_per_batch
from ranker.train.settings import RankerTraining

INPUTS = [["kettle"], [["steel kettle", "garden hose"]]]
LABELS = [torch.tensor([1.0, 0.0])]
LOGITS = [2.0, 0.0]
UNLIKELY = math.log2(1 + math.exp(-2))  # -log2 of sigmoid(2 - 0), the chance of the right order
BCE = (math.log(1 + math.exp(-2)) + math.log(2)) / 2


class FixedModel(nn.Module):
    """Gives its logits to any pairs, and counts how often it is asked."""

    num_labels, device, asked = 1, torch.device("cpu"), 0

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(LOGITS))

    def preprocess(self, pairs: list[tuple[str, str]], **_: object) -> dict[str, Tensor]:
        return {"places": torch.arange(len(pairs))}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        self.asked += 1
        return {"scores": self.logits[features["places"]][:, None]}


def value(model: FixedModel, **settings: object) -> Tensor:
    return make_loss(model, RankerTraining(**settings))(INPUTS, LABELS)  # type: ignore[arg-type]


def test_the_pairwise_loss_by_hand() -> None:
    assert value(FixedModel(), loss="pairwise", bce_weight=0).item() == pytest.approx(UNLIKELY)


def test_the_listwise_loss_by_hand() -> None:
    # Gains 1 and 0, the ideal DCG is 1; places 1 and 2 are discounted by 1 and log2(3), so NDCG-Loss2 and LambdaRank
    # both weigh the pair with 1 - 1 / log2(3), and NDCG-Loss2++ with ten times the first plus the second.
    weight = 11 * (1 - 1 / math.log2(3))
    assert value(FixedModel(), loss="listwise", bce_weight=0).item() == pytest.approx(weight * UNLIKELY)


@pytest.mark.parametrize("loss", ["pairwise", "listwise"])
def test_some_cross_entropy_beside_the_order(loss: str) -> None:
    model = FixedModel()
    order, both = value(model, loss=loss, bce_weight=0), value(model, loss=loss, bce_weight=0.25)
    assert both.item() == pytest.approx(order.item() + 0.25 * BCE)
    assert model.asked == 2  # once a loss: the second part takes the same logits
    (slope,) = torch.autograd.grad(both - order, model.logits)
    # d bce / d logit = (sigmoid(logit) - label) / 2
    assert slope.tolist() == pytest.approx([0.25 * (1 / (1 + math.exp(-2)) - 1) / 2, 0.25 * 0.5 / 2], rel=1e-4)


def test_a_batch_holds_about_as_many_pairs_whatever_the_loss() -> None:
    assert rows_per_batch(RankerTraining(batch_size=32)) == 32
    assert rows_per_batch(RankerTraining(batch_size=32, loss="listwise", list_length=8)) == 4
    assert rows_per_batch(RankerTraining(batch_size=4, loss="pairwise", list_length=8)) == 1
