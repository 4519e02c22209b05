"""What the towers say of query and product pairs, for the training that builds on it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.progress import Report, ignore
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel


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


def _unique(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The different texts, and the place of each of `texts` among them."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), np.array([places[text] for text in texts], np.int64)
