"""The ranker's product tokens on disk: what is written is read, and files that do not fit are refused."""

from pathlib import Path

import numpy as np
import pytest

from catalog.tokens import OFFSETS_FILE, TOKENS_FILE, ProductTokens, write_product_tokens
from core.errors import ReleaseError

PRODUCTS = [[5, 6, 7], [], [65_535], [1, 2]]


def arrays(products: list[list[int]]) -> list[np.ndarray]:
    return [np.array(tokens, np.int32) for tokens in products]


@pytest.mark.parametrize(("vocabulary", "width"), [(65_536, 2), (65_537, 4)])
def test_rows_come_back_as_written(tmp_path: Path, vocabulary: int, width: int) -> None:
    assert write_product_tokens(tmp_path, vocabulary, iter([arrays(PRODUCTS[:2]), arrays(PRODUCTS[2:])])) == 6
    result = ProductTokens(tmp_path)
    assert len(result) == 4
    assert [result[row].tolist() for row in range(4)] == PRODUCTS
    assert result[0].dtype == np.int32
    assert np.load(tmp_path / TOKENS_FILE).itemsize == width
    assert not list(tmp_path.glob("*.part"))


def test_products_without_any_token_are_kept(tmp_path: Path) -> None:
    assert write_product_tokens(tmp_path, 10, iter([arrays([[], []])])) == 0
    assert [ProductTokens(tmp_path)[row].tolist() for row in range(2)] == [[], []]


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    write_product_tokens(tmp_path, 10, iter([arrays([[1, 2, 3]])]))
    np.save(tmp_path / OFFSETS_FILE, np.array([0, 2]))
    with pytest.raises(ReleaseError, match="do not fit together"):
        ProductTokens(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="cannot be read"):
        ProductTokens(tmp_path)
