"""Bulk embedding: how lengths share batches, and that every text gets its own vector back."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.embed import embed_all, embed_items
from engine.onnx.session import length_batches


class FakeModel:
    """A text's vector is its length and its first token. Remembers the shapes it ran."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def run(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        self.shapes.append((len(tokens), max(map(len, tokens))))
        return np.array([[len(sequence), sequence[0]] for sequence in tokens], np.float32)


@given(st.lists(st.integers(1, 96), max_size=200), st.integers(1, 400))
def test_batches_hold_each_place_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = length_batches(lengths, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        longest, shortest = max(lengths[i] for i in batch), min(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert shortest >= 0.9 * longest


def test_the_longest_go_first_and_equal_lengths_together() -> None:
    assert [batch.tolist() for batch in length_batches([3, 10, 3, 10, 10], 20)] == [[1, 3], [4], [0, 2]]


@pytest.mark.parametrize("workers", [1, 3])
def test_vectors_come_back_with_their_places(workers: int) -> None:
    tokens = [np.full(1 + i * 7 % 23, i, np.int32) for i in range(100)]
    result = np.full((100, 2), np.nan, np.float32)
    model = FakeModel()
    for places, part in embed_items(model, tokens, token_budget=64, workers=workers):  # type: ignore[arg-type]
        result[places] = part
    np.testing.assert_array_equal(result, [[len(sequence), i] for i, sequence in enumerate(tokens)])
    assert all(count == 1 or count * longest <= 64 for count, longest in model.shapes)


def test_all_at_once_come_in_their_order_and_are_told() -> None:
    tokens = [np.full(1 + i * 7 % 23, i, np.int32) for i in range(300)]
    calls: list[tuple[int, int | None]] = []
    result = embed_all(FakeModel(), tokens, lambda *seen: calls.append(seen))  # type: ignore[arg-type]
    np.testing.assert_array_equal(result, [[len(sequence), i] for i, sequence in enumerate(tokens)])
    assert calls == sorted(calls) and calls[-1] == (300, 300)


def test_nothing_to_embed_yields_nothing() -> None:
    assert list(embed_items(FakeModel(), [])) == []  # type: ignore[arg-type]


def test_a_failing_model_fails_the_caller() -> None:
    class Broken(FakeModel):
        def run(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(embed_items(Broken(), [np.ones(3, np.int32)]))  # type: ignore[arg-type]
