"""The towers' losses: those of sentence-transformers, and subclasses for what the library lacks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses import CachedLossMixin
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    CoSENTLoss,
    DistillKLDivLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import all_gather, cos_sim, get_rank, pairwise_cos_sim
from torch import Tensor, nn

from encoder.train.settings import EncoderTraining
from training.processes import count

# From b rows and the a rows they are contrasted with: which products are left out, shape (b, a * (n + 1)).
Mask = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class RowSupervision:
    """Supervision of the m rows beside their texts: false negatives, and a teacher's scores, shape (m, n + 1)."""

    mask: Mask | None = None
    scores: NDArray[np.float32] | None = None


def rows_loss(model: SentenceTransformer, settings: EncoderTraining, supervision: RowSupervision) -> nn.Module:
    """Contrasts a row's good product with its own negatives and the batch's products that `supervision.mask` leaves.

    Multiple negatives ranking loss (Henderson et al. 2017, arXiv 1705.00652); with `mini_batch`, its gradients are
    cached (Gao et al. 2021, arXiv 2101.06983); `hardness` is alpha of Lan et al. 2025 (arXiv 2503.04812), eq. 5.
    `distil` times the divergence from the teacher's scores is added.
    """
    options: dict[str, Any] = {"scale": settings.scale, "gather_across_devices": count() > 1}
    if settings.hardness:
        options |= {"hardness_mode": "all_negatives", "hardness_strength": settings.hardness}
    size = settings.mini_batch
    if supervision.mask is None and supervision.scores is None:
        if size is None:
            return MultipleNegativesRankingLoss(model, **options)
        return CachedMultipleNegativesRankingLoss(model, mini_batch_size=size, **options)
    options |= {"distil": settings.distil, "temperature": settings.teacher_temperature}
    if size is None:
        return RowsLoss(model, supervision, **options)
    return CachedRowsLoss(model, supervision, mini_batch_size=size, **options)


def graded_loss(model: SentenceTransformer, settings: EncoderTraining, weight: float) -> nn.Module:
    """Pairs with higher grades shall have higher cosines (CoSENT, doi 10.1109/TASLP.2024.3402087)."""
    if settings.mini_batch is None:
        return GradedLoss(model, weight, settings.scale)
    return CachedGradedLoss(model, weight, settings.scale, mini_batch_size=settings.mini_batch)


def add_matryoshka(model: SentenceTransformer, loss: nn.Module, settings: EncoderTraining) -> nn.Module:
    """The loss of all dimensions and of the first ones that `matryoshka` names (arXiv 2205.13147), summed."""
    if not settings.matryoshka:
        return loss
    with model.truncate_embeddings(None):  # the loss covers all dimensions, whatever is exported
        dimensions = {*settings.matryoshka, model.get_embedding_dimension()}
        return MatryoshkaLoss(model, loss, sorted(dimensions, reverse=True))


class RowsLoss(MultipleNegativesRankingLoss):
    """Multiple negatives ranking loss with a mask and a teacher. Labels are their numbers, shape (b,)."""

    def __init__(
        self,
        model: SentenceTransformer,
        supervision: RowSupervision,
        distil: float = 0.0,
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self._mask = supervision.mask
        self._scores = None if supervision.scores is None else torch.from_numpy(supervision.scores)
        # The library multiplies by the student's temperature squared, which leaves next to nothing of the loss here.
        self._weight = distil * self.scale**2
        self._teacher = DistillKLDivLoss(
            model, pairwise_cos_sim, student_temperature=1 / self.scale, teacher_temperature=temperature
        )

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """The loss from embeddings of queries, good products and n columns of negatives, each of shape (b, d)."""
        if self._mask is not None:
            mask = self._false_negatives(labels)
            self.similarity_fct = lambda queries, items: cos_sim(queries, items).masked_fill(mask, -torch.inf)
        loss = super().compute_loss_from_embeddings(embeddings, labels)
        if self._scores is None:
            return loss
        scores = self._scores[labels.cpu()].to(labels.device)
        return loss + self._weight * self._teacher.compute_loss_from_embeddings(embeddings, scores)

    def _false_negatives(self, labels: Tensor) -> Tensor:
        assert self._mask is not None
        among, before = labels, 0
        if self.gather_across_devices:
            among, before = all_gather(labels), get_rank() * len(labels)
        mask = torch.from_numpy(self._mask(labels.cpu().numpy(), among.cpu().numpy())).to(labels.device)
        own = torch.arange(len(labels), device=labels.device)
        mask[own, own + before] = False
        return mask


class GradedLoss(CoSENTLoss):
    """CoSENT times a weight. Labels are the pairs' relevance, shape (b,)."""

    def __init__(self, model: SentenceTransformer, weight: float, scale: float) -> None:
        super().__init__(model, scale)
        self._weight = weight

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """The loss from embeddings of queries and products, each of shape (b, d)."""
        return self._weight * super().compute_loss_from_embeddings(embeddings, labels)


class _Cached(CachedLossMixin):
    """Caches gradients for a loss that is computed from embeddings: memory is that of `mini_batch_size` texts."""

    compute_loss_from_embeddings: Callable[[list[Tensor], Tensor], Tensor]

    def __init__(self, *arguments: Any, mini_batch_size: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.mini_batch_size = mini_batch_size

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        return self.forward_cached(sentence_features, labels)

    def calculate_loss(self, reps: list[list[Tensor]], labels: Tensor, *, with_backward: bool = False) -> Tensor:
        """See `CachedLossMixin`: of one list of mini-batches a column."""
        loss = self.compute_loss_from_embeddings([torch.cat(column) for column in reps], labels)
        if not with_backward:
            return loss
        loss.backward()
        return loss.detach()


class CachedRowsLoss(_Cached, RowsLoss):
    """The same in mini-batches."""


class CachedGradedLoss(_Cached, GradedLoss):
    """The same in mini-batches."""
