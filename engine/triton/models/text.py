"""Triton's model of a tower or of a cross-encoder: token ids in, vectors or logits out, by ONNX Runtime.

Runs in Triton's Python backend, beside copies of the modules that the embedded engine runs the same models with.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is imported, here without `core`

from engine.onnx.session import IDS, MASK, SEGMENTS, OnnxModel, length_batches
from engine.triton.models.tensors import answer, dropped, failure, taken


class TritonPythonModel:
    """One instance: one session on one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Opens the model beside this file."""
        self._model = OnnxModel(Path(__file__).parent / "model.onnx", mapped=True)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers a batch of requests, each of inputs of shape (n, t) with an output of shape (n, d).

        Requests that no caller waits for are dropped. Padding is taken off and sequences of all requests are grouped by
        length, so that little is padded again.
        """
        answers = [dropped() if request.is_cancelled() else None for request in requests]
        tokens: list[np.ndarray] = []
        segments: list[np.ndarray] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            if answers[place] is None:
                for ids, kinds in _sequences(request):
                    tokens.append(ids)
                    segments.append(kinds)
                    owners.append(place)
        if not tokens:
            return answers
        try:
            results = self._run(tokens, segments)
        except Exception as error:  # the callers get any error
            return [failure(error) if response is None else response for response in answers]
        places = np.array(owners)
        return [
            answer({"output": results[places == place]}) if response is None else response
            for place, response in enumerate(answers)
        ]

    def _run(self, tokens: Sequence[np.ndarray], segments: Sequence[np.ndarray]) -> np.ndarray:
        """Results of all sequences, shape (n, d), d being 1 for logits."""
        batches = length_batches([len(ids) for ids in tokens])
        parts = [self._model.run([tokens[i] for i in places], [segments[i] for i in places]) for places in batches]
        grouped = np.concatenate([part.reshape(len(part), -1) for part in parts])
        results = np.empty_like(grouped)
        results[np.concatenate(batches)] = grouped
        return results


def _sequences(request: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Token ids and segment ids of each row, without padding, each of shape (t,)."""
    ids, mask, kinds = taken(request, IDS), taken(request, MASK), taken(request, SEGMENTS)
    assert ids is not None and mask is not None, "the model's configuration asks for both"
    for row, length in enumerate(mask.sum(axis=1)):
        yield ids[row, :length], np.zeros(length, np.int64) if kinds is None else kinds[row, :length]
