"""Runs boosted trees that were exported to ONNX."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from engine.onnx.session import session


class OnnxTrees:
    """Trees that any number of threads may ask at once; each call runs on its caller's thread."""

    def __init__(self, path: Path, remake: str = "run `tandem train final`") -> None:
        """Raises ModelError for a file that is not a model of one table of features and one score; `remake` is how it
        is made again."""
        self._session = session(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 2:
            raise ModelError(f"{path}: holds no trees; {remake} again")
        self._input, self._output = inputs[0].name, outputs[0].name
        self.features: int = inputs[0].shape[1]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores, shape (c,), of c rows of features, shape (c, f); NaN is a value that is missing."""
        return self._session.run([self._output], {self._input: features})[0].reshape(-1)
