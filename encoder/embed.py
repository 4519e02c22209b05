"""Bulk embedding: by length, so that almost nothing is padded, on every core."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from core.cores import available_cores
from core.progress import Report, ignore
from engine.onnx.session import TOKEN_BUDGET, OnnxModel, length_batches


def embed_items(
    model: OnnxModel, tokens: Sequence[NDArray[np.int32]], token_budget: int = TOKEN_BUDGET, workers: int | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yields places in `tokens` and their unit vectors, shape (n, d), batch by batch, longest first.

    `tokens` are n arrays of shape (t,); `token_budget` bounds a batch's tokens, unless one sequence exceeds it alone;
    `workers` threads share the work, by default one a core.
    """
    batches = length_batches([len(sequence) for sequence in tokens], token_budget)
    with ThreadPoolExecutor(workers or available_cores(), thread_name_prefix="embed") as pool:
        yield from zip(batches, pool.map(lambda places: model.run([tokens[i] for i in places]), batches), strict=True)


def embed_all(model: OnnxModel, tokens: Sequence[NDArray[np.int32]], report: Report = ignore) -> NDArray[np.float32]:
    """Unit vectors of shape (n, d), row i that of array i, by `embed_items`; n is at least 1."""
    places, parts, done = [], [], 0
    for place, part in embed_items(model, tokens):
        places.append(place)
        parts.append(part)
        done += len(place)
        report(done, len(tokens))
    return np.concatenate(parts)[np.argsort(np.concatenate(places))]
