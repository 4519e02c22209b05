"""Vectors and tokens of changed products, by the models of one release."""

from collections.abc import Sequence
from threading import Lock

import numpy as np

from encoder.bi_encoder import BiEncoder
from engine.onnx.session import OnnxModel
from engine.protocol import Tokens, Vectors
from ranker.ranker import Ranker

_AT_ONCE = 16  # texts of a batch: some milliseconds


class ItemModels:
    """The item tower, which is opened at the first text, and the cross-encoder's tokenizer. For any number of threads,
    one at a time."""

    def __init__(self, tower: BiEncoder, ranker: Ranker | None) -> None:
        self.digest = tower.digest
        self._tower = tower
        self._ranker = ranker
        self._model: OnnxModel | None = None
        self._lock = Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (n, d), of n product texts, made on one thread."""
        if not texts:
            return np.empty((0, self._tower.spec.dimensions), np.float32)
        with self._lock:
            if self._model is None:
                self._model = OnnxModel(self._tower.model_path("item"), mapped=True)
            tokens = self._tower.tokenize_items(list(texts))
            parts = [self._model.run(tokens[i : i + _AT_ONCE]) for i in range(0, len(tokens), _AT_ONCE)]
        return np.concatenate(parts)

    def tokens(self, texts: Sequence[str]) -> Sequence[Tokens] | None:
        """The cross-encoder's tokens of each product text; None where there is no cross-encoder."""
        if self._ranker is None:
            return None
        with self._lock:
            return self._ranker.tokenize_products(list(texts))
