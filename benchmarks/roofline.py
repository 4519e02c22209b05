"""What share of this core's int8 peak a tower reaches while it embeds, and what holds the rest back.

    python -m benchmarks.roofline --encoder FOLDER [--repeats 20]

On one thread, processor time, least of all repeats: the model's own integer products alone, at the shapes of a full
batch of the index job, and a large square one (the peak is the fastest of them); the whole model on that batch; and
where its time goes, by ONNX Runtime's own profile. A multiply-add is two operations; only products with weights are
counted, not attention's own.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.common import save
from core.errors import TandemError
from encoder.bi_encoder import BiEncoder
from engine.onnx.session import TOKEN_BUDGET, OnnxModel, padded_inputs

_SQUARE = 1024
_OPSET = 17
_GROUPS = {
    "integer products": ("MatMulIntegerToFloat", "MatMulInteger", "DynamicQuantizeMatMul"),
    "attention": ("MatMul", "FusedMatMul", "Softmax", "Transpose", "Where", "Expand"),
    "row scales and rounding": ("ReduceMax", "ReduceMin", "Neg", "Max", "Reciprocal", "QuantizeLinear"),
    "layer normalisation": ("LayerNormalization", "SkipLayerNormalization"),
    "activation": ("Erf", "Gelu", "BiasGelu", "FastGelu"),
    "elementwise (scales, biases, sums)": ("Mul", "Add", "Div", "Sub", "QuickGelu"),
}


def main() -> None:
    """Measures, prints a line for each figure and saves all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="folder that `tandem train encoder` left")
    parser.add_argument("--length", type=int, default=24, help="tokens of a text")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--name", default="roofline", help="of the results file")
    options = parser.parse_args()
    path = BiEncoder.open(options.encoder).model_path("item")
    texts = TOKEN_BUDGET // options.length
    load = round(os.getloadavg()[0], 2)
    shapes = _products(path)
    if not shapes:
        raise TandemError(f"{path}: holds no integer product; export the towers in int8")
    product_gflops = {shape: _gflops(_product(texts * options.length, *shape), options.repeats) for shape in shapes}
    peak = max(*product_gflops.values(), _gflops(_product(_SQUARE, _SQUARE, _SQUARE), options.repeats))
    results = _shares(path, texts, options, shapes, product_gflops, peak)
    for name, value in results.items():
        print(f"{name}: {value}")
    parameters = {
        "texts": texts,
        "length": options.length,
        "repeats": options.repeats,
        "threads": 1,
        "load_before": load,
    }
    print(save(options.name, parameters, results))


def _shares(
    path: Path,
    texts: int,
    options: argparse.Namespace,
    shapes: dict[tuple[int, int], int],
    product_gflops: dict[tuple[int, int], float],
    peak: float,
) -> dict[str, Any]:
    tokens = texts * options.length
    random = np.random.default_rng(0)
    batch = [random.integers(1000, 20000, options.length).astype(np.int32) for _ in range(texts)]
    model = OnnxModel(path)
    seconds = _least(lambda: model.run(batch), options.repeats)
    work = {shape: 2e-9 * tokens * shape[0] * shape[1] * count for shape, count in shapes.items()}
    total = sum(work.values())
    return {
        "products_gflops": {f"{k} to {n}": round(value, 1) for (k, n), value in product_gflops.items()},
        "peak_gflops": round(peak, 1),
        "model_processor_ms": round(seconds * 1000, 2),
        "model_gflops": round(total / seconds, 1),
        "share_of_peak": round(total / seconds / peak, 3),
        "share_if_products_alone_took_time": round(total / sum(work[s] / product_gflops[s] for s in shapes) / peak, 3),
        "share_of_time": _profile(path, batch, options.repeats),
    }


def _products(path: Path) -> dict[tuple[int, int], int]:
    """How often each shape (k, n) of constant int8 weights occurs."""
    shapes: dict[tuple[int, int], int] = defaultdict(int)
    for tensor in onnx.load(str(path)).graph.initializer:
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2:
            shapes[tensor.dims[0], tensor.dims[1]] += 1
    return dict(shapes)


def _product(m: int, k: int, n: int) -> tuple[Callable[[], Any], float]:
    """What multiplies u8 (m, k) by constant int8 (k, n) as the models do, and how many operations that is."""
    random = np.random.default_rng(0)
    constants = {
        "b": random.integers(-63, 64, (k, n)).astype(np.int8),
        "a_scale": np.float32(1.0).reshape(()),
        "b_scale": np.ones(n, np.float32),
        "a_zero": np.uint8(128).reshape(()),
    }
    node = helper.make_node(
        "MatMulIntegerToFloat", ["a", "b", "a_scale", "b_scale", "a_zero"], ["y"], domain="com.microsoft"
    )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [m, k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [m, n])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    session = _session(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    feed = {"a": random.integers(0, 256, (m, k)).astype(np.uint8)}
    return lambda: session.run(None, feed), 2.0 * m * k * n


def _gflops(product: tuple[Callable[[], Any], float], repeats: int) -> float:
    call, operations = product
    return operations / _least(call, repeats) / 1e9


def _least(call: Callable[[], Any], repeats: int) -> float:
    """Processor seconds of the fastest of so many calls on this thread, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)


def _session(model: str | bytes, profile: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )


def _profile(path: Path, batch: list[np.ndarray], repeats: int) -> dict[str, float]:
    """The share of all nodes' time that each group of operators takes."""
    with tempfile.TemporaryDirectory() as folder:
        session = _session(str(path), Path(folder) / "profile")
        feed = padded_inputs({entry.name for entry in session.get_inputs()}, batch)
        for _ in range(repeats):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    group_of = {op: group for group, ops in _GROUPS.items() for op in ops}
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[group_of.get(event["args"]["op_name"], "other")] += event["dur"]
    whole = sum(spent.values())
    return {group: round(value / whole, 3) for group, value in sorted(spent.items(), key=lambda entry: -entry[1])}


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
