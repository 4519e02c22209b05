"""Vectors and ranker tokens for every product of a snapshot's columns."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.columns import Columns
from core.digest import value_digest
from core.product import PRODUCT_TEXT_VERSION, product_text
from core.progress import Report
from encoder.embed import embed_all
from encoder.tower import Tower
from engine.onnx import OnnxModel
from indexer.embeddings import EmbeddingStore, text_keys
from ranker.product_tokens import write_product_tokens
from ranker.ranker import Ranker

# Products embedded between two checkpoints: what a kill -9 can cost.
_CHECKPOINT = 2048
_KEPT_PER_PRODUCT = 4


def product_texts(columns: Columns) -> Iterator[list[str]]:
    """The product texts, a record batch at a time, in row order."""
    for batch in columns.batches():
        yield [product_text(row) for row in batch.to_pylist()]


def open_store(work: Path, tower: Tower) -> EmbeddingStore:
    """The embeddings kept for this tower, its maximum length and this version of the product text."""
    name = value_digest([tower.digest, PRODUCT_TEXT_VERSION])[:16]
    return EmbeddingStore(work / "embeddings" / name, tower.spec.dimensions)


def embed_products(columns: Columns, tower: Tower, work: Path, report: Report) -> tuple[NDArray[np.float16], int]:
    """Unit vectors of shape (n, d), mapped from a file in `work`, and how many had to be embedded anew."""
    store = open_store(work, tower)
    keys = np.concatenate([text_keys(texts) for texts in product_texts(columns)])
    missing = store.missing(keys)
    report(0, len(missing))
    model = OnnxModel(tower.model_path("item"))
    done = 0
    for rows, texts in _chunks(columns, missing):
        tokens = tower.tokenize_items(texts)
        store.add(keys[rows], embed_all(model, tokens, _beyond(done, len(missing), report)))
        done += len(rows)
    vectors = store.gather(keys, work / "vectors.npy")
    store.compact(keys, _KEPT_PER_PRODUCT * len(keys))
    return vectors, len(missing)


def tokenize_products(columns: Columns, ranker: Ranker, folder: Path, report: Report) -> int:
    """Writes the ranker's tokens of every product into `folder`; returns how many tokens there are."""

    def batches() -> Iterator[list[NDArray[np.int32]]]:
        done = 0
        for texts in product_texts(columns):
            yield ranker.tokenize_products(texts)
            done += len(texts)
            report(done, len(columns))

    return write_product_tokens(folder, ranker.vocabulary_size, batches())


def _chunks(columns: Columns, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
    """The texts of the given rising rows, a checkpoint's worth at a time."""
    wanted = _wanted_texts(columns, rows)
    while chunk := list(islice(wanted, _CHECKPOINT)):
        yield np.array([row for row, _ in chunk]), [text for _, text in chunk]


def _wanted_texts(columns: Columns, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    start = 0
    for batch in columns.batches():
        stop = start + batch.num_rows
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
        if len(inside):
            texts = [product_text(row) for row in batch.take(inside - start).to_pylist()]
            yield from zip(inside.tolist(), texts, strict=True)
        start = stop


def _beyond(before: int, total: int, report: Report) -> Report:
    """A part's report as one of the whole."""
    return lambda done, _: report(before + done, total)
