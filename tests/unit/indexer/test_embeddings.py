from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.embeddings import EmbeddingStore, text_keys


def _vectors(texts: list[str], dimensions: int = 4) -> np.ndarray:
    """A vector that follows from the text, exact in half precision."""
    return np.array([[sum(map(ord, text)) % 97 + d for d in range(dimensions)] for text in texts], np.float32)


def _add(store: EmbeddingStore, *texts: str) -> None:
    store.add(text_keys(texts), _vectors(list(texts)))


def test_keys_are_blake2b_of_the_text() -> None:
    keys = text_keys(["a", "é"])
    assert [key.tobytes() for key in keys] == [blake2b(t.encode(), digest_size=16).digest() for t in ("a", "é")]
    assert text_keys([]).shape == (0,)


def test_only_what_has_no_vector_is_missing_and_once(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "e", 4)
    assert len(store) == 0
    assert store.missing(text_keys(["b", "a", "b", "c"])).tolist() == [0, 1, 3]
    _add(store, "a", "x")
    assert store.missing(text_keys(["b", "a", "b", "c"])).tolist() == [0, 3]
    _add(store, "b", "c")
    assert store.missing(text_keys(["b", "a", "b", "c"])).tolist() == []
    assert len(store) == 4


def test_vectors_come_back_in_the_order_of_the_keys(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "e", 4)
    _add(store, "a", "b")
    _add(store, "c")
    wanted = ["c", "a", "a", "b", "c"]
    result = store.gather(text_keys(wanted), tmp_path / "v.npy")
    assert result.dtype == np.float16
    assert np.array_equal(result, _vectors(wanted))
    assert np.array_equal(np.load(tmp_path / "v.npy"), _vectors(wanted))


def test_another_process_finds_what_was_added(tmp_path: Path) -> None:
    _add(EmbeddingStore(tmp_path / "e", 4), "a", "b")
    _add(EmbeddingStore(tmp_path / "e", 4), "c")
    again = EmbeddingStore(tmp_path / "e", 4)
    assert len(again) == 3
    assert again.missing(text_keys(["a", "d", "c"])).tolist() == [1]
    assert np.array_equal(again.gather(text_keys(["c", "b"]), tmp_path / "v.npy"), _vectors(["c", "b"]))


def test_a_segment_in_the_making_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    _add(EmbeddingStore(folder, 4), "a")
    (folder / "segment-000002.part").write_bytes(b"half a segm")
    store = EmbeddingStore(folder, 4)
    assert len(store) == 1 and not list(folder.glob("*.part"))
    _add(store, "b")
    assert len(EmbeddingStore(folder, 4)) == 2


def test_what_has_no_vector_cannot_be_gathered(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "e", 4)
    for known in ("nothing", "a"):
        if known == "a":
            _add(store, "a")
        with pytest.raises(KeyError):
            store.gather(text_keys(["a", "b"]), tmp_path / "v.npy")


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (2,)])
def test_vectors_must_fit_their_keys(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        EmbeddingStore(tmp_path / "e", 4).add(text_keys(["a", "b"]), np.zeros(shape, np.float32))


def test_compacting_drops_segments_that_nothing_uses_once_there_is_too_much(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    store = EmbeddingStore(folder, 4)
    for pair in (("a", "b"), ("c", "d"), ("e", "f")):
        _add(store, *pair)
    keys = text_keys(["b", "e"])
    store.compact(keys, 6)
    assert len(list(folder.iterdir())) == 3  # not too much yet
    store.compact(keys, 3)
    left = EmbeddingStore(folder, 4)
    assert len(left) == 3 and len(list(folder.iterdir())) == 2
    assert left.missing(text_keys(["a", "b", "c", "d", "e", "f"])).tolist() == [0, 2, 3]  # the oldest went first
    _add(left, "g")
    assert EmbeddingStore(folder, 4).missing(text_keys(["b", "e", "f", "g"])).tolist() == []


def test_compacting_keeps_no_more_than_the_limit_though_every_segment_is_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    store = EmbeddingStore(folder, 4)
    for letter in "abcdefgh":  # a feed of which one product in four stays and three change
        _add(store, letter, *(f"{letter}{old}" for old in range(3)))
    keys = text_keys(list("abcdefgh"))
    store.compact(keys, 10)
    left = EmbeddingStore(folder, 4)
    assert len(left) == 10 and not list(folder.glob("*.part"))
    assert left.missing(text_keys([*"abcdefgh", "h0", "h1", "h2"])).tolist() == [8]
    assert np.array_equal(left.gather(keys, tmp_path / "v.npy"), _vectors(list("abcdefgh")))
    left.compact(keys, 0)
    assert len(EmbeddingStore(folder, 4)) == 8  # what is in use stays, whatever the limit


@settings(max_examples=30)
@given(st.lists(st.lists(st.text(max_size=3), max_size=6), max_size=5), st.lists(st.text(max_size=3), max_size=10))
def test_against_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[str]], asked: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("embeddings")
    store = EmbeddingStore(folder / "e", 4)
    known: set[str] = set()
    for texts in steps:
        new = [texts[i] for i in store.missing(text_keys(texts))]
        assert new == [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            _add(store, *new)
        known.update(new)
    present = [text for text in asked if text in known]
    for kept in (store, EmbeddingStore(folder / "e", 4)):
        assert len(kept) == len(known)
        missing = {asked[i] for i in kept.missing(text_keys(asked))}
        assert missing == set(asked) - known
        if present:
            assert np.array_equal(kept.gather(text_keys(present), folder / "v.npy"), _vectors(present))
