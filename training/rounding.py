"""Observes the inputs of a model's matrix products, and scales and rounds weights such that int8 changes them least."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

_SHARE = 0.5  # of what is hard to round that goes from activations into weights; the value of the paper
_DAMPING = 0.01  # of the mean of the diagonal; the value of the paper
_BLOCK = 128
_LEAST = 1e-5
_TOGETHER = 32


@dataclass(slots=True)
class ObservedInputs:
    """The rows x that flowed into a product: the largest magnitude of each channel, shape (k,), and the sum of all
    x xT, shape (k, k)."""

    largest: NDArray[np.float32]
    moments: NDArray[np.float64]

    def add(self, rows: NDArray[np.float32]) -> None:
        """Rows of shape (r, k)."""
        self.largest = np.maximum(self.largest, np.abs(rows).max(axis=0, initial=0))
        self.moments += rows.T @ rows


def observe(
    source: Path, inputs: Sequence[str], feeds: Sequence[Mapping[str, NDArray[np.int64]]]
) -> dict[str, ObservedInputs]:
    """Runs an fp32 model on the feeds and observes the named tensors, each of shape (..., k)."""
    model = onnx.load(str(source))
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    observed: dict[str, ObservedInputs] = {}
    for start in range(0, len(feeds), _TOGETHER):
        runs = [session.run(list(inputs), dict(feed)) for feed in feeds[start : start + _TOGETHER]]
        for place, name in enumerate(inputs):
            rows = np.concatenate([run[place].reshape(-1, run[place].shape[-1]) for run in runs])
            width = rows.shape[1]
            observed.setdefault(name, ObservedInputs(np.zeros(width, np.float32), np.zeros((width, width)))).add(rows)
    return observed


def channel_scales(observed: ObservedInputs, weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What to divide each channel of the activations by, and multiply its weights with, shape (k,).

    s = sqrt(max |x| / max |W|) over the channel: outliers among the channels, which would take the 8 bits of all
    others, go into the weights in part (Xiao and others, "SmoothQuant", ICML 2023). `weights` have shape (k, n).
    """
    largest = np.maximum(np.max([np.abs(matrix).max(axis=1) for matrix in weights], axis=0), _LEAST)
    scales = np.maximum(observed.largest, _LEAST) ** _SHARE / largest ** (1 - _SHARE)
    return (scales / np.exp(np.log(scales).mean())).astype(np.float32)


def round_columns(
    weights: NDArray[np.float32], moments: NDArray[np.float64], limit: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 weights of shape (k, n), at most `limit`, and the scale of each column, shape (n,).

    Rows are rounded one after the other, and those to come make up for the error, as far as the activations move
    together (Frantar and others, "GPTQ", ICLR 2023). `moments` are the activations', shape (k, k).
    """
    scales = np.maximum(np.abs(weights).max(axis=0) / limit, np.finfo(np.float32).tiny).astype(np.float32)
    count = len(weights)
    damped = moments + np.eye(count) * max(_DAMPING * float(np.mean(np.diag(moments))), _LEAST)
    order = np.argsort(-np.diag(damped), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left = weights[order].astype(np.float64)
    rounded = np.zeros_like(left)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        errors = np.zeros((end - start, left.shape[1]))
        for row in range(start, end):
            rounded[row] = np.clip(np.rint(left[row] / scales), -limit, limit)
            errors[row - start] = (left[row] - rounded[row] * scales) / upper[row, row]
            left[row + 1 : end] -= np.outer(upper[row, row + 1 : end], errors[row - start])
        left[end:] -= upper[start:end, end:].T @ errors
    result = np.zeros(weights.shape, np.int8)
    result[order] = rounded.astype(np.int8)
    return result, scales
