"""The same ONNX files through OpenVINO, where the extra `bench` is installed."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.onnx.session import padded_inputs


def is_installed() -> bool:
    """Whether there is an OpenVINO to ask."""
    return find_spec("openvino") is not None


class OpenVinoModel:
    """Called as `engine.onnx.session.OnnxModel`, on one thread. int8 is what a file with fixed scales brings along."""

    def __init__(self, path: Path, precision: str = "f32") -> None:
        """`precision` is that of the arithmetic outside int8: f32 or bf16."""
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        self._model = openvino.Core().compile_model(str(path), "CPU", settings)
        self._names = {name for entry in self._model.inputs for name in entry.names}

    def run(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
    ) -> NDArray[np.float32]:
        """See `engine.onnx.session.OnnxModel.run`."""
        return self._model(padded_inputs(self._names, tokens, segments))[0].copy()
