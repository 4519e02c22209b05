"""What serving would find first for queries to validate on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.progress import Report, Silent, ignore
from lifecycle.examples.products import Products
from lifecycle.training.negatives import retrieve_first
from training.examples import JudgedQueries

TEXTS = ["red kettle", "kettle cosy", "red carpet", "spade", "blue lamp"]
PRODUCTS = Products(list("abcde"), TEXTS, TEXTS, [None] * len(TEXTS))
QUERIES = JudgedQueries("valid", {"red kettle": {"a": 1.0}, "lamp": {"e": 1.0}})


class Towers:
    """Products lie on a circle, each further from every query than the one before."""

    def __init__(self, order: str) -> None:
        self.order = order

    def queries(self, texts: Sequence[str], report: Report = ignore) -> NDArray[np.float32]:
        return np.array([[1, 0]] * len(texts), np.float32)

    def items(self, texts: Sequence[str], report: Report = ignore) -> NDArray[np.float32]:
        angles = np.array([self.order.index("abcde"[TEXTS.index(text)]) for text in texts]) * 0.1
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def first(order: str | None, count: int = 5) -> dict[str, str]:
    towers = Towers(order) if order else None
    result = retrieve_first(QUERIES, PRODUCTS, towers, count, Silent())  # type: ignore[arg-type]
    return {query: "".join(names) for query, names in result.items()}


def test_without_towers_words_alone_find() -> None:
    result = first(None)
    assert result["red kettle"][0] == "a" and set(result["red kettle"]) == set("abc") and result["lamp"] == "e"


def test_what_towers_find_is_fused_with_what_words_find() -> None:
    """By 1 / (60 + rank) lamp e is first, which only words have there; of the others the towers alone know."""
    assert first("dcbae")["lamp"] == "edcba"
    assert first("dcbae", 2)["lamp"] == "ed"


def test_a_product_that_says_all_of_the_query_is_first_as_in_serving() -> None:
    """By ranks alone b, the first of the towers and the second or third of words, would be: the towers have a last."""
    assert first("bcdea")["red kettle"][0] == "a"
