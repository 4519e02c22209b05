"""A trained cross-encoder that others learn from."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.onnx.session import OnnxModel, length_batches
from lifecycle.examples.mining import PairScores
from ranker.ranker import Ranker
from training.loop import PairValues


class Teacher:
    """What the exported cross-encoder of a folder says of pairs, on every core."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError when the folder holds no cross-encoder."""
        self._ranker = Ranker.open(folder)
        self._model = OnnxModel(self._ranker.model_path)

    def logits(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
        """Of each query with the product text of the same place, shape (n,)."""
        pairs = self._ranker.pack_pairs(list(zip(queries, texts, strict=True)))
        logits = np.empty(len(pairs), np.float32)

        def run(batch: NDArray[np.int64]) -> None:
            logits[batch] = self._model.run([pairs[i][0] for i in batch], [pairs[i][1] for i in batch])

        with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="teach") as pool:
            list(pool.map(run, length_batches([len(tokens) for tokens, _ in pairs])))
        return logits

    def chances(self, queries: Sequence[str], texts: Sequence[str], similarity: PairValues) -> NDArray[np.float32]:
        """The calibrated probabilities that these products are good, shape (n,).

        `similarity` is that of the towers that the cross-encoder builds on.
        """
        return self._ranker.scores(self.logits(queries, texts), similarity(queries, texts))

    def of(self, queries: Sequence[str], texts: Sequence[str], similarity: PairScores) -> PairScores:
        """The same for pairs that are places among these queries and product texts, as `similarity` is."""

        def score(places: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
            logits = self.logits([queries[place] for place in places], [texts[row] for row in rows])
            return self._ranker.scores(logits, similarity(places, rows))

        return score
