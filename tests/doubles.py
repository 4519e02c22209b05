"""A release of doubles: the fake engine, a tower and a ranker with rules one can follow by hand.

A query's first word is a number t; it finds products t, t + 1, ... (modulo count) with similarity 1, 0.99, 0.98, ...
The logit of product i is `logits[i]`, its probability of relevance 1 / (1 + exp(-logit / 10)). Every pair has 6 tokens.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from builders import COLUMNS_FILE, entry, make_manifest, product, write_columns

from catalog.selection import Selection
from catalog.table import ProductTable
from core.manifest import Manifest
from engine.fake import FakeEngine
from engine.lexical.index import Evidence, LexicalQuery
from engine.protocol import Candidates
from retrieval.pipeline.lexical import LexicalFailed, LexicalMatches
from retrieval.release.loaded import LoadedRelease

PAIR_TOKENS = 6
COUNT = 40


class BiEncoder:
    """A query's token is its first word's number, or 0."""

    def tokenize_queries(self, texts: list[str]) -> list[np.ndarray]:
        words = [text.split()[0] for text in texts]
        return [np.array([int(word) if word.isdecimal() else 0], np.int32) for word in words]


class Ranker:
    """Packs [CLS] query [SEP] product [SEP]; a query is one token."""

    cutoff: float | None = None
    mix = 1.0

    def tokenize_query(self, text: str) -> np.ndarray:
        return np.array([len(text)], np.int32)

    def pack(self, query: np.ndarray, product_tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.concatenate([[101], query, [102], product_tokens, [102]]).astype(np.int32)
        return tokens, np.array([0] * (2 + len(query)) + [1] * (1 + len(product_tokens)), np.int32)

    def pack_all(self, query: np.ndarray, products: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self.pack(query, product_tokens) for product_tokens in products]

    def tokenize_products(self, texts: list[str]) -> list[np.ndarray]:
        """The last token, and so the logit, is the number of words."""
        return [np.array([7, len(text.split())], np.int32) for text in texts]

    def scores(self, logits: np.ndarray, similarities: np.ndarray) -> np.ndarray:
        assert logits.shape == similarities.shape
        return 1 / (1 + np.exp(-logits / 10))


class Tokens:
    """Product i is one plain token and its logit."""

    def __init__(self, logits: Sequence[int]) -> None:
        self._logits = logits

    def __len__(self) -> int:
        return len(self._logits)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.array([7, self._logits[row]], np.int32)

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        return [self[row] for row in rows.tolist()]


class FixedLexicalRetriever:
    """Words find these rows, best first, whatever is asked; row i scores (i + 1) / 2, found or not."""

    def __init__(self, rows: Sequence[int], delay: float = 0, broken: str = "") -> None:
        self.rows = np.array(rows, np.int64)
        self.delay = delay
        self.broken = broken
        self.asked: list[int] = []
        self.closed = False

    async def apply_rewrites(self, text: str) -> str:
        return text.replace("scarlet", "red")

    async def correct_spelling(self, text: str, view: object = None) -> str:
        await self._work("spelt")
        return text.replace("reed", "red")

    async def search(
        self, text: str, k: int, view: object = None, selection: Selection | None = None
    ) -> LexicalMatches:
        await self._work("search")
        rows = (self.rows if selection is None else self.rows[selection.mask[self.rows]])[:k]
        return LexicalMatches(LexicalQuery(), Candidates(rows, self._scores(rows)))

    async def evidence(self, query: LexicalQuery, rows: np.ndarray, view: object = None) -> Evidence:
        await self._work("evidence")
        self.asked += rows.tolist()
        matched = np.zeros((len(rows), 1, 0), np.float32)
        lengths = np.ones((len(rows), 1), np.int32)
        return Evidence(self._scores(rows)[:, None], matched, np.zeros((len(rows), 0), bool), lengths, ("title",))

    def scores(self, evidence: Evidence) -> np.ndarray:
        return evidence.scores[:, 0]

    def close(self) -> None:
        self.closed = True

    async def _work(self, call: str) -> None:
        await asyncio.sleep(self.delay)
        if call == self.broken:
            raise LexicalFailed(f"{call} is broken")

    @staticmethod
    def _scores(rows: np.ndarray) -> np.ndarray:
        return ((rows + 1) / 2).astype(np.float32)


def rows_of(count: int, prefix: str = "p") -> list[dict[str, Any]]:
    """Products p0, p1, ... with a price of their number and an odd cent."""
    return [
        product(
            f"{prefix}{i}",
            f"title {i}",
            description=f"description {i}",
            brand="Acme",
            price_micros=i * 1_000_000 + 10_000,
            currency="EUR",
            availability=("in_stock", "out_of_stock", "preorder", "backorder", None)[i % 5],
            attributes=[("weight", f"{i} g")],
        )
        for i in range(count)
    ]


def make_release(
    folder: Path,
    rows: list[dict[str, Any]] | None = None,
    logits: Sequence[int] | None = None,
    ranker: bool = True,
    manifest: Manifest | None = None,
    engine: FakeEngine | None = None,
    words: FixedLexicalRetriever | None = None,
    final: Any = None,
) -> LoadedRelease:
    """A loaded release whose later products have the higher logits, unless said otherwise."""
    rows = rows_of(COUNT) if rows is None else rows
    columns = ProductTable(write_columns(folder / COLUMNS_FILE, rows))
    manifest = manifest or make_manifest({"encoder/m": entry("a")}, {COLUMNS_FILE: entry("b")})
    return LoadedRelease(
        manifest,
        BiEncoder(),  # type: ignore[arg-type]
        Ranker() if ranker else None,  # type: ignore[arg-type]
        columns,
        Tokens(range(len(rows)) if logits is None else logits) if ranker else None,  # type: ignore[arg-type]
        engine or FakeEngine(len(rows)),
        words,  # type: ignore[arg-type]
        final,
    )
