"""Triton's model of a release's FAISS index: searches it, and scores rows against a vector.

Runs in Triton's Python backend, beside copies of the modules that the embedded engine searches with. The one instance
is one process with one thread, so nothing else touches the index; on a GPU that is a must.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from engine.triton.models.tensors import answer, dropped, failure, taken
from engine.vector.index import VectorIndex, use_one_thread


class TritonPythonModel:
    """The index, and on a GPU a copy there that is searched while rows are still looked up here."""

    def initialize(self, args: dict[str, str]) -> None:
        """Opens the index beside this file, with the model's parameters."""
        parameters = json.loads(args["model_config"])["parameters"]
        report = {"settings": json.loads(parameters["settings"]["string_value"])}
        use_one_thread()
        self._index = VectorIndex.open(Path(__file__).parent / "index.faiss", report)
        self._searched = self._index
        if parameters["device"]["string_value"] == "gpu":
            self._gpu = faiss.StandardGpuResources()
            device = int(args["model_instance_device_id"])
            self._searched = self._index.copied(lambda index: faiss.index_cpu_to_gpu(self._gpu, device, index))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers a batch: `vector` (n, d), `k` (n, 1) and `rows` (n, r) give `found` and `scores`, both (n, c).

        With k of 0 the rows are scored, each against its vector; else the k best are searched, for all requests at
        once, and `rows` is ignored.
        """
        answers: list[Any] = [None] * len(requests)
        searched = []
        for place, request in enumerate(requests):
            if request.is_cancelled():
                answers[place] = dropped()
                continue
            vectors, k, rows = (taken(request, name) for name in ("vector", "k", "rows"))
            assert vectors is not None and k is not None and rows is not None, "the model's configuration asks for all"
            if k.any():
                searched.append((place, vectors, int(k.max())))
            else:
                answers[place] = self._compare(vectors, rows)
        if searched:
            self._search(searched, answers)
        return answers

    def _compare(self, vectors: np.ndarray, rows: np.ndarray) -> Any:
        try:
            each = zip(vectors, rows, strict=True)
            return _response(
                rows, np.stack([self._index.similarities(vector, wanted_rows) for vector, wanted_rows in each])
            )
        except Exception as error:  # the caller gets any error
            return failure(error)

    def _search(self, searched: Sequence[tuple[int, np.ndarray, int]], answers: list[Any]) -> None:
        try:
            together = np.concatenate([vectors for _, vectors, _ in searched])
            rows, scores = self._searched.search(together, max(k for _, _, k in searched))
        except Exception as error:  # the callers get any error
            for place, _, _ in searched:
                answers[place] = failure(error)
            return
        start = 0
        for place, vectors, k in searched:
            stop = start + len(vectors)
            answers[place] = _response(rows[start:stop, :k], scores[start:stop, :k])
            start = stop


def _response(rows: np.ndarray, scores: np.ndarray) -> Any:
    return answer({"found": rows.astype(np.int64), "scores": scores.astype(np.float32)})
