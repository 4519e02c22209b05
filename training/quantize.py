"""Makes an int8 model of an fp32 one, such that no score depends on its batch or its padding.

Plain dynamic quantisation takes one activation scale over a whole batch, so that a text's vector moves with its
neighbours. Here each token's row has a scale of its own, written into the graph:

    row scale r = max(|x|) over the row;  q = round(127 x / r) + 128 as u8
    y = (q - 128) W8 * (column scales / 127) * r

Where some inputs are known, x stands for x / s and W8 for s W, s a scale of each channel, and W8 is rounded to what
changes y least (`training/rounding.py`).

Products of 8-bit activations and weights are summed in pairs to 16 bits on x86 machines without VNNI, where they
saturate; weights of 7 bits (at most 63) keep 2 * 255 * 63 below 32,768, and every machine computes the same integers.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

from core.errors import ModelError
from training.rounding import ObservedInputs, channel_scales, observe, round_columns

PRECISION = "int8-rows-w7"
WEIGHT_LIMIT = 63

_ACTIVATION_LIMIT = 127
_ZERO_POINT = 128
_MICROSOFT = "com.microsoft"
_SMALLEST = 1e-9  # the scale of a row of zeros


def quantize_rows(
    source: Path, target: Path, weight_limit: int = WEIGHT_LIMIT, feeds: Sequence[Mapping[str, NDArray[np.int64]]] = ()
) -> int:
    """Writes the int8 model and returns how many matrix products it holds; `feeds` are sample inputs.

    Raises ModelError when the model has no product.
    """
    model = onnx.load(str(source))
    rewriter = _Rewriter(model, weight_limit)
    with threadpool_limits(1, "blas"):  # many small products: several threads spend six times the processor time
        if feeds:
            rewriter.observed = observe(source, rewriter.inputs(), feeds)
        count = rewriter.run()
    if not count:
        raise ModelError(f"{source}: holds no matrix product with constant weights; it cannot be made int8")
    onnx.save(model, str(target))
    return count


def quantize_columns(weights: NDArray[np.float32], limit: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 weights of shape (k, n), at most `limit`, and the scale of each column, shape (n,)."""
    scales = np.maximum(np.abs(weights).max(axis=0) / limit, np.finfo(np.float32).tiny).astype(np.float32)
    return np.clip(np.rint(weights / scales), -limit, limit).astype(np.int8), scales


class _Rewriter:
    """Replaces every MatMul by constant 2-D weights; inputs that feed several are quantised once."""

    def __init__(self, model: onnx.ModelProto, weight_limit: int) -> None:
        self._model = model
        self._limit = weight_limit
        self._constants = {entry.name: entry for entry in model.graph.initializer}
        self._rows: set[str] = set()
        self.observed: Mapping[str, ObservedInputs] = {}
        self._channel_scales: dict[str, NDArray[np.float32]] = {}

    def inputs(self) -> list[str]:
        """The names of the products' inputs."""
        return list(dict.fromkeys(node.input[0] for node in self._products()))

    def run(self) -> int:
        graph = self._model.graph
        self._add("rows/unit", np.float32(1 / _ACTIVATION_LIMIT))
        self._add("rows/zero", np.uint8(_ZERO_POINT))
        self._add("rows/smallest", np.float32(_SMALLEST))
        self._channel_scales = {
            source: channel_scales(observed, self._input_weights(source)) for source, observed in self.observed.items()
        }
        count = 0
        nodes: list[NodeProto] = []
        for node in graph.node:
            if self._is_product(node):
                nodes += self._rewrite_product(node)
                count += 1
            else:
                nodes.append(node)
        del graph.node[:]
        graph.node.extend(nodes)
        self._drop_unused()
        if all(entry.domain != _MICROSOFT for entry in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
        return count

    def _is_product(self, node: NodeProto) -> bool:
        return node.op_type == "MatMul" and len(getattr(self._constants.get(node.input[1]), "dims", ())) == 2

    def _rewrite_product(self, node: NodeProto) -> Iterable[NodeProto]:
        source, name = node.input
        weights, scales = self._quantise_weights(source, name)
        self._add(f"{name}/int8", weights)
        self._add(f"{name}/scales", scales)
        quantised, row_scale, before = self._quantise_input(source)
        unscaled = f"{node.output[0]}/unscaled"
        inputs = [quantised, f"{name}/int8", "rows/unit", f"{name}/scales", "rows/zero"]
        return [
            *before,
            helper.make_node("MatMulIntegerToFloat", inputs, [unscaled], domain=_MICROSOFT),
            helper.make_node("Mul", [unscaled, row_scale], [node.output[0]]),
        ]

    def _products(self) -> list[NodeProto]:
        return [node for node in self._model.graph.node if self._is_product(node)]

    def _input_weights(self, source: str) -> list[NDArray[np.float32]]:
        """The weights of all products of one input."""
        names = [node.input[1] for node in self._products() if node.input[0] == source]
        return [numpy_helper.to_array(self._constants[name]) for name in names]

    def _quantise_weights(self, source: str, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """int8 weights and the scale of each column."""
        weights = numpy_helper.to_array(self._constants[name])
        if source not in self.observed:
            return quantize_columns(weights, self._limit)
        channels = self._channel_scales[source]
        moments = self.observed[source].moments / np.outer(channels, channels)
        return round_columns(weights * channels[:, None], moments, self._limit)

    def _quantise_input(self, source: str) -> tuple[str, str, list[NodeProto]]:
        quantised, scale = f"{source}/quantised", f"{source}/row_scale"
        if source in self._rows:
            return quantised, scale, []
        self._rows.add(source)
        smooth: list[NodeProto] = []
        if source in self.observed:
            self._add(f"{source}/channels", 1 / self._channel_scales[source])
            smooth = [helper.make_node("Mul", [source, f"{source}/channels"], [f"{source}/smooth"])]
            source = f"{source}/smooth"
        high, low, negated = f"{source}/high", f"{source}/low", f"{source}/negated"
        inverse, unit = f"{source}/inverse", f"{source}/unit"
        nodes = [
            helper.make_node("ReduceMax", [source], [high], axes=[-1], keepdims=1),
            helper.make_node("ReduceMin", [source], [low], axes=[-1], keepdims=1),
            helper.make_node("Neg", [low], [negated]),
            helper.make_node("Max", [high, negated, "rows/smallest"], [scale]),
            helper.make_node("Reciprocal", [scale], [inverse]),
            helper.make_node("Mul", [source, inverse], [unit]),
            helper.make_node("QuantizeLinear", [unit, "rows/unit", "rows/zero"], [quantised]),
        ]
        return quantised, scale, smooth + nodes

    def _add(self, name: str, value: np.ndarray | np.generic) -> None:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
            self._model.graph.initializer.append(self._constants[name])

    def _drop_unused(self) -> None:
        graph = self._model.graph
        used = {name for node in graph.node for name in node.input} | {entry.name for entry in graph.output}
        used_weights = [entry for entry in graph.initializer if entry.name in used]
        del graph.initializer[:]
        graph.initializer.extend(used_weights)
