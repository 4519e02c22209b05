"""Exported models that score pairs of a query and a product for the training of another."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.cores import available_cores
from core.progress import Report, ignore
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel, length_batches
from lifecycle.examples.mining import PairScores
from ranker.ranker import Ranker
from training.examples import PairValues


class TowerSimilarity:
    """Cosines by the exported towers of a folder, as they will serve. No product text is embedded twice."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError when the folder holds no towers."""
        self._known: dict[str, NDArray[np.float32]] = {}
        self._tower = BiEncoder.open(folder)
        self._queries = OnnxModel(self._tower.model_path("query"))
        self._items = OnnxModel(self._tower.model_path("item"))

    def __call__(self, queries: Sequence[str], products: Sequence[str]) -> NDArray[np.float32]:
        """The cosine of each query with the product text of the same place, shape (n,)."""
        texts, rows = _unique(queries)
        items, columns = _unique(products)
        return np.einsum("nd,nd->n", self.queries(texts)[rows], self.items(items)[columns])

    def queries(self, texts: list[str], report: Report = ignore) -> NDArray[np.float32]:
        """Unit vectors of queries, shape (n, d)."""
        return embed_all(self._queries, self._tower.tokenize_queries(texts), report)

    def items(self, texts: list[str], report: Report = ignore) -> NDArray[np.float32]:
        """Unit vectors of product texts, shape (n, d), which stay in memory."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            vectors = embed_all(self._items, self._tower.tokenize_items(new), report)
            self._known |= zip(new, vectors, strict=True)
        return np.array([self._known[text] for text in texts], np.float32)


class Teacher:
    """Scores pairs with the exported cross-encoder of a folder, on every core."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError when the folder holds no cross-encoder."""
        self.ranker = Ranker.open(folder)
        self._model = OnnxModel(self.ranker.model_path)

    def logits(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
        """The logit of each query with the product text of the same place, shape (n,)."""
        pairs = self.ranker.pack_pairs(list(zip(queries, texts, strict=True)))
        logits = np.empty(len(pairs), np.float32)

        def run(batch: NDArray[np.int64]) -> None:
            logits[batch] = self._model.run([pairs[i][0] for i in batch], [pairs[i][1] for i in batch])

        with ThreadPoolExecutor(available_cores(), thread_name_prefix="teach") as pool:
            list(pool.map(run, length_batches([len(tokens) for tokens, _ in pairs])))
        return logits

    def chances(self, queries: Sequence[str], texts: Sequence[str], similarity: PairValues) -> NDArray[np.float32]:
        """The calibrated probabilities that these products are good, shape (n,).

        `similarity` is that of the towers that the cross-encoder builds on.
        """
        return self.ranker.scores(self.logits(queries, texts), similarity(queries, texts))

    def pair_scores(self, queries: Sequence[str], texts: Sequence[str], similarity: PairScores) -> PairScores:
        """The same for pairs that are places among these queries and product texts, as `similarity` is."""

        def score(places: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
            logits = self.logits([queries[place] for place in places], [texts[row] for row in rows])
            return self.ranker.scores(logits, similarity(places, rows))

        return score


def _unique(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The different texts, and the place of each of `texts` among them."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), np.array([places[text] for text in texts], np.int64)
