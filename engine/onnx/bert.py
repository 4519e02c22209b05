"""Writes a BERT sentence encoder as fp32 ONNX from its weights alone, so that a first release needs no torch.

The graph computes transformers' BertModel, followed by mean pooling and normalisation.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from core.errors import ModelError
from engine.onnx.session import IDS, MASK

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"

_OPSET, _IR = 17, 8
_HIDDEN = -1e9  # added where the mask hides a token
_LEAST = 1e-12  # of a vector's length
_TYPES = "embeddings.token_type_embeddings.weight"


def write_bert(folder: Path, target: Path) -> int:
    """Writes the encoder of a Hugging Face folder; returns its dimensions d.

    Inputs are `input_ids` and `attention_mask`, shape (n, t), output unit vectors, shape (n, d). Raises ModelError for
    a folder that holds no BERT with weights in safetensors.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_bytes())
        weights = load_file(folder / WEIGHTS_FILE)
    except OSError as error:
        raise ModelError(f"{folder}: holds no encoder that can be exported: {error.strerror}") from None
    kind, activation = config.get("model_type"), config.get("hidden_act")
    if kind != "bert" or activation != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(f"{folder}: a {kind} with {activation} is exported by torch alone")
    graph = _Graph(weights, float(config["layer_norm_eps"]))
    graph.write(config["num_hidden_layers"], config["num_attention_heads"])
    onnx.save(graph.model(config["hidden_size"]), str(target))
    return int(config["hidden_size"])


class _Graph:
    """Nodes in the order in which they run; what a node gives has the node's name."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], epsilon: float) -> None:
        self._weights = {name.removeprefix("bert."): values for name, values in weights.items()}
        self._epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self, dimensions: int) -> onnx.ModelProto:
        """The whole, checked."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in (IDS, MASK)]
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", dimensions])
        graph = helper.make_graph(self._nodes, "encoder", inputs, [output], list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(model)
        return model

    def write(self, layers: int, heads: int) -> None:
        """Token ids to unit vectors."""
        mask = self._node("Cast", MASK, name="mask", to=TensorProto.FLOAT)
        hidden = self._node("Mul", self._node("Sub", self._scalar(1.0), mask), self._scalar(_HIDDEN))
        bias = self._node("Unsqueeze", hidden, self._ints(1, 2), name="mask_bias")
        states = self._embedded()
        for layer in range(layers):
            states = self._layer(f"encoder.layer.{layer}", states, bias, heads)
        self._pooled(states, mask)

    def _embedded(self) -> str:
        count = self._node("Gather", self._node("Shape", IDS), self._integer(1))
        places = self._node("Range", self._integer(0), count, self._integer(1), name="places")
        positions = self._node("Gather", self._weight("embeddings.position_embeddings.weight"), places)
        words = self._node("Gather", self._weight("embeddings.word_embeddings.weight"), IDS, name="words")
        # Only queries or only products are read: all tokens are of the first kind.
        kind = self._constant(_TYPES, self._weights[_TYPES][0])
        summed = self._node("Add", self._node("Add", words, kind), positions)
        return self._normed("embeddings.LayerNorm", summed)

    def _layer(self, at: str, states: str, bias: str, heads: int) -> str:
        width = self._weights[f"{at}.attention.self.query.weight"].shape[0]
        split, whole = self._ints(0, 0, heads, width // heads), self._ints(0, 0, width)

        def parted(side: str, order: list[int]) -> str:
            projected = self._linear(f"{at}.attention.self.{side}", states)
            return self._node("Transpose", self._node("Reshape", projected, split), perm=order)

        queries, keys, values = (
            parted(side, order)
            for side, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        scores = self._node("MatMul", queries, keys)
        scaled = self._node("Add", self._node("Mul", scores, self._scalar((width // heads) ** -0.5)), bias)
        mixed = self._node("MatMul", self._node("Softmax", scaled, axis=-1), values)
        joined = self._node("Reshape", self._node("Transpose", mixed, perm=[0, 2, 1, 3]), whole)
        attended = self._node("Add", self._linear(f"{at}.attention.output.dense", joined), states)
        states = self._normed(f"{at}.attention.output.LayerNorm", attended)
        grown = self._gelu(self._linear(f"{at}.intermediate.dense", states))
        shrunk = self._node("Add", self._linear(f"{at}.output.dense", grown), states)
        return self._normed(f"{at}.output.LayerNorm", shrunk)

    def _pooled(self, states: str, mask: str) -> None:
        """The mean of what the mask shows, at unit length."""
        shown = self._node("Unsqueeze", mask, self._ints(2))
        summed = self._node("ReduceSum", self._node("Mul", states, shown), self._ints(1), keepdims=0)
        count = self._node("ReduceSum", mask, self._ints(1), keepdims=1)
        mean = self._node("Div", summed, self._node("Max", count, self._scalar(1.0)))
        length = self._node("Max", self._node("ReduceL2", mean, axes=[-1], keepdims=1), self._scalar(_LEAST))
        self._node("Div", mean, length, name="output")

    def _linear(self, at: str, states: str) -> str:
        weights = self._constant(f"{at}.weight", np.ascontiguousarray(self._weights[f"{at}.weight"].T))
        return self._node("Add", self._node("MatMul", states, weights), self._weight(f"{at}.bias"))

    def _gelu(self, states: str) -> str:
        raised = self._node("Erf", self._node("Div", states, self._scalar(2**0.5)))
        grown = self._node("Mul", states, self._node("Add", raised, self._scalar(1.0)))
        return self._node("Mul", grown, self._scalar(0.5))

    def _normed(self, at: str, states: str) -> str:
        weight, bias = self._weight(f"{at}.weight"), self._weight(f"{at}.bias")
        return self._node("LayerNormalization", states, weight, bias, axis=-1, epsilon=self._epsilon)

    def _node(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        name = name or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _scalar(self, value: float) -> str:
        return self._constant(f"float {value:g}", np.float32(value))

    def _integer(self, value: int) -> str:
        return self._constant(f"integer {value}", np.int64(value))

    def _ints(self, *values: int) -> str:
        return self._constant(f"integers {values}", np.array(values, np.int64))

    def _constant(self, name: str, values: Any) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name
