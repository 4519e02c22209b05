"""The towers' losses: sentence-transformers' own where they do, and what they lack."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses import CachedLossMixin
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import all_gather, cos_sim, get_rank
from torch import Tensor, nn

from encoder.train.settings import EncoderTraining
from engine.processes import count

# Of b rows and the rows they are told from, shapes (b,) and (a,): which products do not count, shape (b, a * (n + 1)).
Mask = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def ranking_loss(model: SentenceTransformer, settings: EncoderTraining, mask: Mask | None = None) -> nn.Module:
    """In-batch products and a row's own negatives are told from its good one, except where `mask` says so.

    Multiple negatives ranking loss (Henderson et al. 2017, arXiv 1705.00652); with `mini_batch`, its gradients are
    cached (Gao et al. 2021, arXiv 2101.06983); `hardness` is alpha of Lan et al. 2025 (arXiv 2503.04812), eq. 5.
    """
    options: dict[str, Any] = {"scale": settings.scale, "gather_across_devices": count() > 1}
    if settings.hardness:
        options |= {"hardness_mode": "all_negatives", "hardness_strength": settings.hardness}
    if mask is None and settings.mini_batch is None:
        return MultipleNegativesRankingLoss(model, **options)
    if mask is None:
        return CachedMultipleNegativesRankingLoss(model, mini_batch_size=settings.mini_batch, **options)
    if settings.mini_batch is None:
        return MaskedRankingLoss(model, mask, **options)
    return CachedMaskedRankingLoss(model, mask, settings.mini_batch, **options)


class MaskedRankingLoss(MultipleNegativesRankingLoss):
    """Multiple negatives ranking loss that leaves out what a mask names. Labels are numbers of rows, shape (b,)."""

    def __init__(self, model: SentenceTransformer, mask: Mask, **options: Any) -> None:
        super().__init__(model, **options)
        self._mask = mask

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """Of queries, good products and n columns of negatives, each of shape (b, d)."""
        among, before = labels, 0
        if self.gather_across_devices:
            among, before = all_gather(labels), get_rank() * len(labels)
        mask = torch.from_numpy(self._mask(labels.cpu().numpy(), among.cpu().numpy())).to(labels.device)
        own = torch.arange(len(labels), device=labels.device)
        mask[own, own + before] = False
        self.similarity_fct = lambda queries, products: cos_sim(queries, products).masked_fill(mask, -torch.inf)
        return super().compute_loss_from_embeddings(embeddings, labels)


class CachedMaskedRankingLoss(CachedLossMixin, MaskedRankingLoss):
    """The same by cached gradients: the memory for activations is that of `mini_batch_size` texts."""

    def __init__(self, model: SentenceTransformer, mask: Mask, mini_batch_size: int, **options: Any) -> None:
        super().__init__(model, mask, **options)
        self.mini_batch_size = mini_batch_size

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """See `CachedLossMixin`."""
        return self.forward_cached(sentence_features, labels)

    def calculate_loss(self, reps: list[list[Tensor]], labels: Tensor, *, with_backward: bool = False) -> Tensor:
        """See `CachedLossMixin`: of one list of mini-batches a column."""
        loss = self.compute_loss_from_embeddings([torch.cat(column) for column in reps], labels)
        if not with_backward:
            return loss
        loss.backward()
        return loss.detach()
