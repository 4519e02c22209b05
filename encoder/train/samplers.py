"""Which examples share a batch. sentence-transformers' trainer makes these by the data set's columns."""

from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import (
    DefaultBatchSampler,
    MultiDatasetDefaultBatchSampler,
    NoDuplicatesBatchSampler,
)

from training.processes import count


def batches(dataset: Dataset, **options: Any) -> DefaultBatchSampler:
    """Rows in contrast with each other: no text twice in a batch. Graded pairs: those of a query together."""
    rows = "positive" in dataset.column_names
    return NoDuplicatesBatchSampler(dataset, **options) if rows else QueryBatchSampler(dataset, **options)


class QueryBatchSampler(DefaultBatchSampler):
    """Queries in random order, the pairs of each together: grades compare best within a query.

    Where a batch ends, a query's pairs go on in the next one. Pairs of a query follow each other in the data set.
    """

    def __init__(self, dataset: Dataset, **options: Any) -> None:
        super().__init__(dataset, **options)
        queries = np.array(dataset.with_format(None)["query"][:])
        self._parts = np.split(np.arange(len(queries)), np.flatnonzero(queries[1:] != queries[:-1]) + 1)
        self._count = len(queries)

    def __iter__(self) -> Iterator[list[int]]:
        if self.generator is not None:
            self.generator.manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self._parts), generator=self.generator)
        rows = np.concatenate([self._parts[part] for part in order])
        for begin in range(0, len(self) * self.batch_size, self.batch_size):
            yield rows[begin : begin + self.batch_size].tolist()

    def __len__(self) -> int:
        return self._count // self.batch_size if self.drop_last else -(-self._count // self.batch_size)


class RoundRobinSampler(MultiDatasetDefaultBatchSampler):
    """A batch of each data set in turn for every process, so that all of them have the same loss; until one ends."""

    def __iter__(self) -> Iterator[list[int]]:
        before = [0, *accumulate(map(len, self.dataset.datasets))]
        samplers = [iter(sampler) for sampler in self.batch_samplers]
        while True:
            turns = [list(islice(sampler, count())) for sampler in samplers]
            if min(map(len, turns)) < count():
                return
            for start, turn in zip(before, turns, strict=False):
                yield from ([start + row for row in batch] for batch in turn)

    def __len__(self) -> int:
        return min(len(sampler) // count() for sampler in self.batch_samplers) * count() * len(self.batch_samplers)
