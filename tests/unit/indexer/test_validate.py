from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import product, write_columns

from catalog.table import ProductTable
from core.errors import ReleaseError
from indexer import validate as module
from indexer.validate import GoldenQuery, validate

COUNT = 12


class BiEncoder:
    """A text's token is the number at its end."""

    def tokenize_items(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array([int(text.split()[-1])]) for text in texts]

    tokenize_queries = tokenize_items

    def model_path(self, side: str) -> Path:
        return Path(side)


class Model:
    """The vector of a text is its number's axis."""

    def __init__(self, path: Path) -> None:
        pass

    def run(self, tokens: list[np.ndarray]) -> np.ndarray:
        return np.eye(COUNT, dtype=np.float32)[[int(ids[0]) for ids in tokens]]


class Index:
    """Exact search over the given vectors."""

    def __init__(self, vectors: np.ndarray, count: int) -> None:
        self._vectors = vectors.astype(np.float32)
        self.count = count

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = queries @ self._vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rows, np.take_along_axis(scores, rows, axis=1)


@pytest.fixture
def columns(tmp_path: Path) -> ProductTable:
    return ProductTable(write_columns(tmp_path / "c.arrow", [product(f"p{i}", f"thing {i}") for i in range(COUNT)]))


@pytest.fixture
def check(columns: ProductTable, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the checks on the given vectors, and an index of other ones if given."""

    def run(
        vectors: np.ndarray,
        indexed: np.ndarray | None = None,
        count: int = COUNT,
        golden: list[GoldenQuery] | None = None,
    ) -> dict[str, Any]:
        class Opened:
            @staticmethod
            def open(path: Path, settings: dict[str, Any]) -> Index:
                return Index(vectors if indexed is None else indexed, count)

        monkeypatch.setattr(module, "VectorIndex", Opened)
        monkeypatch.setattr(module, "OnnxModel", Model)
        monkeypatch.setattr(module, "_SELF_TOP", 1)
        return validate(columns, vectors, Path("i"), {}, BiEncoder(), golden or [])  # type: ignore[arg-type]

    return run


GOOD = np.eye(COUNT, dtype=np.float16)


def test_what_is_sound_is_told(check: Any) -> None:
    golden = [GoldenQuery(query="the one numbered 4", product_id="p4", within=1)]
    assert check(GOOD, golden=golden) == {
        "products": COUNT,
        "largest_norm_error": 0.0,
        "self_retrieval_at_10": 1.0,
        "golden_queries": {"asked": 1, "missed": 0},
    }


def test_counts_must_agree(check: Any) -> None:
    with pytest.raises(ReleaseError, match="12 products, 12 vectors and 11 index entries do not agree"):
        check(GOOD, count=11)
    with pytest.raises(ReleaseError, match="12 products, 11 vectors"):
        check(GOOD[:-1])


def test_vectors_must_be_numbers_of_unit_length(check: Any) -> None:
    wrong = GOOD.copy()
    wrong[5, 5] = 1.25
    with pytest.raises(ReleaseError, match=r"not of unit length \(off by 0\.250\)"):
        check(wrong)
    for value in (np.nan, np.inf, -np.inf):
        wrong[5, 5] = value
        with pytest.raises(ReleaseError, match="are not numbers"):
            check(wrong)
    wrong[5] = 0
    with pytest.raises(ReleaseError, match=r"not of unit length \(off by 1\.000\)"):
        check(wrong)


def test_vectors_must_belong_to_their_rows(check: Any) -> None:
    with pytest.raises(ReleaseError, match="only 0% of products are found by their own text"):
        check(GOOD, indexed=np.roll(GOOD, 1, axis=0))
    half = np.concatenate([GOOD[:6], np.roll(GOOD[6:], 1, axis=0)])
    assert check(GOOD, indexed=half)["self_retrieval_at_10"] == 0.5


def test_golden_queries_must_bring_their_products(check: Any) -> None:
    golden = [
        GoldenQuery(query="number 4", product_id="p4", within=1),
        GoldenQuery(query="number 5", product_id="p6", within=3),
        GoldenQuery(query="number 5", product_id="gone", within=12),
    ]
    with pytest.raises(ReleaseError) as error:
        check(GOOD, golden=golden)
    assert str(error.value) == (
        "2 of 3 golden queries miss their product, such as 'number 5': p6 is not among the first 3"
    )
