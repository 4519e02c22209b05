"""Exact search over half-precision vectors on one or several GPUs, by matrix products; a filter is a mask over scores.

No score is kept, only the best one of every `_GROUP` neighbouring rows. A row among the k best is in one of the k
groups with the best scores, since each better group has a better row; so those groups are scored once more, in single
precision, and the rows chosen among them. A few groups more make up for the rounding of queries to half precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Spread: TypeAlias = Literal["replica", "shard"]
Mask: TypeAlias = NDArray[np.bool_]
# Gives the vectors from one row up to another, (rows, d).
Read: TypeAlias = Callable[[int, int], NDArray[np.float32] | NDArray[np.float16]]
SearchResult: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]

_GROUP = 32
_MORE_GROUPS = 28
_GATHERED_BYTES = 1 << 30
# Rows scored at once: their scores for a batch of 256 stay in the card's own cache (50 MB).
CHUNK = 1 << 15


@dataclass(frozen=True, slots=True)
class _Shard:
    """Rows from `start` on, and zeros up to a whole group: (rows, d) in half precision on one device.

    `real` marks which are rows, (rows,).
    """

    vectors: Tensor
    real: Tensor
    start: int
    count: int


class ExactSearch:
    """The vectors of a catalog on one or several devices. One thread at a time."""

    def __init__(
        self,
        read: Read,
        count: int,
        dimensions: int,
        devices: Sequence[str] = ("cuda",),
        spread: Spread = "replica",
        chunk: int = CHUNK,
    ) -> None:
        """As replicas, each device has all vectors and answers a part of the queries; as shards, a part of the vectors
        and all of the queries.
        """
        self._spread = spread
        self._chunk = max(_GROUP, chunk // _GROUP * _GROUP)
        bounds = np.linspace(0, count, len(devices) + 1).astype(int) if spread == "shard" else None
        ranges = list(pairwise(bounds)) if bounds is not None else [(0, count)] * len(devices)
        self._shards = [
            _shard(read, int(start), int(stop), dimensions, device)
            for device, (start, stop) in zip(devices, ranges, strict=True)
            if stop > start
        ]

    def search(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> SearchResult:
        """Rows and scores of the k best that are allowed, both (n, k), best first; row -1 where there are no more."""
        with torch.inference_mode():
            if self._spread == "shard":
                return _merged([self._ask(shard, queries, k, allowed) for shard in self._shards], k)
            parts = np.array_split(queries, len(self._shards))
            pending = [
                self._ask(shard, part, k, allowed)
                for shard, part in zip(self._shards, parts, strict=True)
                if len(part) or not len(queries)
            ]
            rows, scores = zip(*(_fetched(results) for results in pending), strict=True)
            return np.concatenate(rows), np.concatenate(scores)

    def _ask(self, shard: _Shard, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> tuple[Tensor, Tensor]:
        """Starts the search and does not wait for it, so that devices work side by side."""
        device = shard.vectors.device
        exact = torch.tensor(queries, dtype=torch.float32, device=device)
        mask = None if allowed is None else _there(allowed, shard)
        maxima = self._maxima(shard.vectors, exact.half(), mask)
        groups = maxima.topk(min(k + _MORE_GROUPS, maxima.shape[1]), dim=1).indices
        rows, scores = _best(shard.vectors, exact, groups, k, shard.real if mask is None else mask)
        return torch.where(scores > -torch.inf, rows + shard.start, -1), scores

    def _maxima(self, vectors: Tensor, queries: Tensor, mask: Tensor | None) -> Tensor:
        """The best score of each group, (n, groups)."""
        maxima = queries.new_empty((len(queries), len(vectors) // _GROUP), dtype=torch.float32)
        for start in range(0, len(vectors), self._chunk):
            part = slice(start, min(start + self._chunk, len(vectors)))
            scores = _products(queries, vectors[part])
            if mask is not None:
                scores.masked_fill_(~mask[part], -torch.inf)
            groups = slice(part.start // _GROUP, part.stop // _GROUP)
            torch.amax(scores.unflatten(1, (-1, _GROUP)), dim=2, out=maxima[:, groups])
        return maxima


def _shard(read: Read, start: int, stop: int, dimensions: int, device: str) -> _Shard:
    whole = -(-(stop - start) // _GROUP) * _GROUP
    vectors = torch.zeros((whole, dimensions), dtype=torch.float16, device=device)
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        vectors[first - start : last - start] = torch.from_numpy(read(first, last)).to(torch.float16)
    return _Shard(vectors, torch.arange(whole, device=device) < stop - start, start, stop - start)


def _there(allowed: Mask, shard: _Shard) -> Tensor:
    """The shard's part of a mask, (rows,)."""
    mask = torch.zeros_like(shard.real)
    mask[: shard.count] = torch.from_numpy(allowed[shard.start : shard.start + shard.count]).to(mask.device)
    return mask


def _products(queries: Tensor, vectors: Tensor) -> Tensor:
    """Inner products, (n, rows), of halves, summed and kept in single precision."""
    if vectors.is_cuda:
        return torch.mm(queries, vectors.T, out_dtype=torch.float32)
    return queries.float() @ vectors.float().T


def _best(vectors: Tensor, queries: Tensor, groups: Tensor, k: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The k best rows of each query's groups with their scores, in single precision, both (n, k)."""
    blocks = vectors.unflatten(0, (-1, _GROUP))
    masks = mask.unflatten(0, (-1, _GROUP))
    inside = torch.arange(_GROUP, device=vectors.device)
    at_once = max(1, _GATHERED_BYTES // (groups.shape[1] * _GROUP * vectors.shape[1] * 4))
    results = []
    for query, group in zip(queries.split(at_once), groups.split(at_once), strict=True):
        near = blocks[group].flatten(1, 2).float()
        scores = torch.bmm(near, query[:, :, None])[:, :, 0].masked_fill(~masks[group].flatten(1), -torch.inf)
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        rows = (group[:, :, None] * _GROUP + inside).flatten(1).gather(1, best.indices)
        results.append((rows, best.values))
    rows, scores = (torch.cat(parts) for parts in zip(*results, strict=True))
    return rows, scores


def _merged(results: Sequence[tuple[Tensor, Tensor]], k: int) -> SearchResult:
    rows, scores = (np.concatenate(parts, 1) for parts in zip(*map(_fetched, results), strict=True))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _fetched(results: tuple[Tensor, Tensor]) -> SearchResult:
    return results[0].cpu().numpy(), results[1].cpu().numpy()
