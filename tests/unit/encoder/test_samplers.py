"""Which examples share a batch, and that processes are given batches of one data set at a time."""

import pytest
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch.utils.data import BatchSampler, ConcatDataset

from encoder.train.samplers import QueryBatchSampler, RoundRobinSampler, batches

PAIRS = Dataset.from_dict({"query": [*"aaabbbccc"], "product": [*"123456789"], "label": [0.0] * 9})


def sampler(size: int, drop_last: bool = False) -> QueryBatchSampler:
    result = batches(PAIRS, batch_size=size, drop_last=drop_last, generator=torch.Generator(), seed=1)
    assert isinstance(result, QueryBatchSampler)
    return result


def test_pairs_of_a_query_are_together() -> None:
    result = list(sampler(3))
    assert sorted(map(tuple, result)) == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]


def test_every_pair_comes_once_and_what_is_left_over_last() -> None:
    result = list(sampler(4))
    assert [len(batch) for batch in result] == [4, 4, 1] and len(sampler(4)) == 3
    assert sorted(row for batch in result for row in batch) == list(range(9))
    assert [len(batch) for batch in sampler(4, drop_last=True)] == [4, 4]


def test_epochs_differ_and_repeat_themselves() -> None:
    first, again, second = sampler(3), sampler(3), sampler(3)
    second.set_epoch(3)
    assert list(first) == list(again) != list(second)


def test_rows_share_no_text() -> None:
    rows = Dataset.from_dict({"query": ["a", "b"], "positive": ["1", "1"], "label": [0, 1]})
    result = batches(rows, batch_size=2, drop_last=False, generator=torch.Generator(), seed=1)
    assert isinstance(result, NoDuplicatesBatchSampler) and [len(batch) for batch in result] == [1, 1]


@pytest.mark.parametrize(("processes", "wanted"), [(1, "rgrgrg"), (2, "rrgg")])
def test_data_sets_take_turns(processes: int, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    parts = ConcatDataset([range(8), range(6)])
    samplers = [BatchSampler(range(8), 2, False), BatchSampler(range(6), 2, False)]
    turns = RoundRobinSampler(parts, samplers)
    result = list(turns)
    assert "".join("r" if batch[0] < 8 else "g" for batch in result) == wanted
    assert len(result) == len(turns)
