"""What the cross-encoder's training minimises. All of them are sentence-transformers' own.

`listwise` is LambdaLoss with the scheme NDCG-Loss2++ (Wang et al., "The LambdaLoss Framework for Ranking Metric
Optimization", CIKM 2018), a bound of the nDCG that training validates by, with the same gains 2^label - 1. ListNet was
the other choice: its target is the softmax of the labels, and of labels from 0 to 1 that is nearly flat (with one good
product of eight, .28 for it and .10 for each other), so it never asks for logits further apart than the labels are.
`pairwise` is RankNet (Burges et al., "Learning to Rank using Gradient Descent", ICML 2005).
"""

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss, RankNetLoss
from torch import Tensor, nn

from ranker.train.settings import RankerTraining

_WHOLE_BATCH = -1  # in one forward pass; else there would be one for every few pairs


def make_loss(model: CrossEncoder, settings: RankerTraining) -> nn.Module:
    """The loss that the settings name: bce reads pairs, the others read lists (`ranker/train/examples.py`)."""
    if settings.loss == "bce":
        return BinaryCrossEntropyLoss(model)
    kind = LambdaLoss if settings.loss == "listwise" else RankNetLoss
    loss = kind(model, mini_batch_size=_WHOLE_BATCH)
    return _WithPairs(loss, settings.bce_weight) if settings.bce_weight else loss


def rows_per_batch(settings: RankerTraining) -> int:
    """Training rows of a batch of about `batch_size` pairs."""
    return settings.batch_size if settings.loss == "bce" else max(1, settings.batch_size // settings.list_length)


class _WithPairs(nn.Module):
    """The loss of an order, plus so much of the pairs' binary cross-entropy by the same logits.

    An order does not determine the level of a query's logits. The cross-entropy ties that to the labels, so that
    one calibration and one cutoff suit every query.
    """

    def __init__(self, loss: LambdaLoss, weight: float) -> None:
        super().__init__()
        self.loss, self.weight = loss, weight
        self.logit_store = _PairLogits()
        loss.activation_fn = self.logit_store

    def forward(self, inputs: list, labels: list[Tensor], prompt: str | None = None, task: str | None = None) -> Tensor:
        """`inputs` are the queries and their lists of products, `labels` those of each list; see LambdaLoss."""
        order = self.loss(inputs, labels, prompt=prompt, task=task)
        targets = torch.cat(labels).to(self.logit_store.logits)
        return order + self.weight * nn.functional.binary_cross_entropy_with_logits(self.logit_store.logits, targets)

    def get_config_dict(self) -> dict[str, float]:
        """For the model card, which describes `loss` as well."""
        return {"bce_weight": self.weight}


class _PairLogits(nn.Module):
    """Returns the logits of a batch, shape (n,), and stores them: the loss of their order does not return them."""

    logits: Tensor

    def forward(self, logits: Tensor) -> Tensor:
        """Stores the logits and returns them unchanged."""
        self.logits = logits
        return logits
