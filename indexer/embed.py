"""Vectors and ranker tokens for every product of a snapshot's columns."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalog.product import PRODUCT_TEXT_VERSION, product_text
from catalog.table import ProductTable
from catalog.tokens import write_product_tokens
from core.digest import value_digest
from core.progress import Report
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.folder import files_digest
from engine.onnx.session import OnnxModel
from engine.protocol import Tokens
from indexer.embeddings import DamagedSegment, EmbeddingStore, text_keys
from indexer.work import EMBEDDINGS
from ranker.ranker import Ranker

if TYPE_CHECKING:
    from engine.embedded import Model

# Products embedded between two checkpoints: a kill -9 costs at most about a second of work.
_CHECKPOINT = {"cpu": 2_048, "cuda": 65_536}
_VECTORS_PER_PRODUCT = 4

DeviceName: TypeAlias = Literal["cpu", "cuda"]
Chunk: TypeAlias = tuple[NDArray[np.int64], list[Tokens]]


def product_texts(columns: ProductTable) -> Iterator[list[str]]:
    """The product texts, a record batch at a time, in row order."""
    for batch in columns.batches():
        yield [product_text(row) for row in batch.to_pylist()]


def open_store(work: Path, encoder: BiEncoder, device: DeviceName = "cpu") -> EmbeddingStore:
    """The embeddings of this encoder, with its maximum length, and of this version of the product text.

    Those that a GPU made with half-precision weights have a store of their own.
    """
    half = [files_digest(encoder.half_files())] if device == "cuda" else []
    name = value_digest([encoder.digest, PRODUCT_TEXT_VERSION, *half])[:16]
    return EmbeddingStore(work / EMBEDDINGS / name, encoder.spec.dimensions)


def embed_products(
    columns: ProductTable, encoder: BiEncoder, work: Path, report: Report, device: DeviceName = "cpu"
) -> tuple[NDArray[np.float16], int]:
    """Unit vectors of shape (n, d), mapped from a file in `work`, and how many had to be embedded.

    Raises ModelError where the tower has no weights for the device.
    """
    keys = np.concatenate([text_keys(texts) for texts in product_texts(columns)])
    embed = make_embedder(encoder.model_path("item"), device)
    embedded = 0
    while True:
        store = open_store(work, encoder, device)
        missing = store.missing(keys)
        report(0, len(missing))
        done = 0
        for rows, tokens in prefetch(_tokens(columns, missing, encoder, _CHECKPOINT[device])):
            store.add(keys[rows], embed(tokens, _offset_report(done, len(missing), report)))
            done += len(rows)
        embedded += done
        with contextlib.suppress(DamagedSegment):  # dropped, so that the next round makes it anew
            vectors = store.gather(keys, work / "vectors.npy")
            store.compact(keys, _VECTORS_PER_PRODUCT * len(keys))
            return vectors, embedded


def tokenize_products(columns: ProductTable, ranker: Ranker, folder: Path, report: Report) -> int:
    """Writes the ranker's tokens of every product into `folder`; returns how many tokens there are."""

    def batches() -> Iterator[list[NDArray[np.int32]]]:
        done = 0
        for texts in product_texts(columns):
            yield ranker.tokenize_products(texts)
            done += len(texts)
            report(done, len(columns))

    return write_product_tokens(folder, ranker.vocabulary_size, batches())


def make_embedder(model: Path, device: DeviceName) -> Callable[[list[Tokens], Report], NDArray[np.float32]]:
    """A function that makes unit vectors, (n, d), of n texts' tokens on a device. Raises ModelError where it cannot."""
    if device == "cpu":
        return partial(embed_all, OnnxModel(model))
    from engine.gpu.packed import PackedModel

    return partial(_embed_at_once, PackedModel.open(model))


def _embed_at_once(model: "Model", tokens: list[Tokens], report: Report) -> NDArray[np.float32]:
    vectors = model.run(tokens)
    report(len(tokens), len(tokens))
    return vectors


def prefetch(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same chunks, each made while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk


def _tokens(columns: ProductTable, rows: NDArray[np.int64], encoder: BiEncoder, size: int) -> Iterator[Chunk]:
    """The tokens of the given rising rows, so many at a time."""
    texts = _texts_of_rows(columns, rows)
    while chunk := list(islice(texts, size)):
        yield np.array([row for row, _ in chunk]), encoder.tokenize_items([text for _, text in chunk])


def _texts_of_rows(columns: ProductTable, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    start = 0
    for batch in columns.batches():
        stop = start + batch.num_rows
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
        if len(inside):
            texts = [product_text(row) for row in batch.take(inside - start).to_pylist()]
            yield from zip(inside.tolist(), texts, strict=True)
        start = stop


def _offset_report(before: int, total: int, report: Report) -> Report:
    """Reports a part as progress of the whole."""
    return lambda done, _: report(before + done, total)
