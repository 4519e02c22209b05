"""Which int8 an encoder should take on a CPU: speed, closeness to fp32, and whether a text's batch changes its vector.

    python benchmarks/quantization.py --data FOLDER

FOLDER holds `home_depot/products.parquet` and `home_depot/judgments.parquet` (titles and queries); the default is the
environment variable TANDEM_DATA. Parameters and results go to `benchmarks/results/quantization.json`.
"""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
from onnxruntime import quantization
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

from encoder.bi_encoder import BiEncoder
from encoder.train.export import PooledEncoder, example_inputs, export_model, load_encoder
from engine.onnx.session import OnnxModel, padded_inputs
from training.export import write_fp32
from training.quantize import WEIGHT_LIMIT, quantize_rows

# Sequences and tokens of each: a query, a busy moment's queries, a reranked list, products being indexed.
SHAPES = {"query": (1, 8), "queries": (32, 8), "pairs": (32, 24), "items": (64, 24)}
_FLOAT = {"DefaultTensorType": onnx.TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds by shape (least of all repeats), cosines with fp32, and how far its batch moves a vector."""

    milliseconds: dict[str, float]
    cosine_mean: float
    cosine_min: float
    batched_difference: float
    batched_cosine_min: float
    padded_difference: float
    megabytes: float


Tokens = Sequence[np.ndarray]


class _Calibration(quantization.CalibrationDataReader):
    def __init__(self, source: Path, tokens: Tokens, segments: Tokens | None) -> None:
        names = {entry.name for entry in onnx.load(source).graph.input}
        kinds = [None] * len(tokens) if segments is None else [[part] for part in segments]
        self._feeds = iter([padded_inputs(names, [t], kind) for t, kind in zip(tokens, kinds, strict=True)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _dynamic(source: Path, target: Path) -> None:
    quantization.quantize_dynamic(
        source, target, per_channel=True, op_types_to_quantize=["MatMul"], extra_options=_FLOAT,
        weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def _static(source: Path, target: Path, tokens: Tokens, segments: Tokens | None) -> None:
    quantization.quantize_static(
        source, target, _Calibration(source, tokens, segments), per_channel=True, op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True, **_FLOAT}, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def _blocks(source: Path, target: Path, size: int) -> None:
    config = DefaultWeightOnlyQuantConfig(block_size=size, is_symmetric=True, accuracy_level=4, bits=8)
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config, op_types_to_quantize=("MatMul",))
    quantizer.process()
    onnx.save(quantizer.model.model, target)


FIXED = "fixed scales (static, calibrated)"


def variants(tokens: Tokens, segments: Tokens | None = None) -> dict[str, Callable[[Path, Path], Any]]:
    """Name -> what writes the variant of an fp32 file; the fixed scales are calibrated on these sequences."""
    return {
        "fp32": lambda source, target: target.write_bytes(source.read_bytes()),
        "one scale a batch (plain dynamic)": _dynamic,
        FIXED: lambda source, target: _static(source, target, tokens, segments),
        **{f"blocks of {n} (MatMulNBits)": partial(_blocks, size=n) for n in (32, 64, 128)},
        "a scale a row, 8-bit weights": lambda source, target: quantize_rows(source, target, 127),
        f"a scale a row, weights to {WEIGHT_LIMIT}": quantize_rows,
    }


def measure(path: Path, tokens: list[np.ndarray], exact: np.ndarray, repeats: int) -> Result:
    """Runs one variant on one thread; `exact` are the fp32 vectors of `tokens`."""
    model = OnnxModel(path)
    single = _run_single(model, tokens)
    batched = np.concatenate([model.run(tokens[i : i + 8]) for i in range(0, len(tokens), 8)])
    longest = max(tokens, key=len)
    padded = np.concatenate([model.run([sequence, longest])[:1] for sequence in tokens])
    cosines = (single * exact).sum(axis=1)
    return Result(
        milliseconds={name: _time(model, *shape, repeats) for name, shape in SHAPES.items()},
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        batched_difference=float(np.abs(batched - single).max()),
        batched_cosine_min=float((batched * single).sum(axis=1).min()),
        padded_difference=float(np.abs(padded - single).max()),
        megabytes=round(path.stat().st_size / 1e6, 1),
    )


def _run_single(model: OnnxModel, tokens: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([model.run([sequence]) for sequence in tokens])


def _time(model: OnnxModel, count: int, length: int, repeats: int) -> float:
    random = np.random.default_rng(0)
    batch = [random.integers(1000, 20000, length).astype(np.int32) for _ in range(count)]
    model.run(batch)
    return round(min(_durations(model, batch, repeats)) * 1000, 2)


def _durations(model: OnnxModel, batch: list[np.ndarray], repeats: int) -> Iterator[float]:
    for _ in range(repeats):
        start = time.perf_counter()
        model.run(batch)
        yield time.perf_counter() - start


def texts(folder: Path, titles: int, queries: int) -> list[str]:
    """Titles and queries, evenly drawn, in an order that mixes lengths."""
    products = pq.read_table(folder / "home_depot/products.parquet")["title"].to_pylist()
    judged_queries = pq.read_table(folder / "home_depot/judgments.parquet")["query"].unique().to_pylist()
    sample = (
        products[:: max(1, len(products) // titles)][:titles]
        + judged_queries[:: max(1, len(judged_queries) // queries)][:queries]
    )
    return [sample[i] for i in np.random.default_rng(0).permutation(len(sample))]


def run(folder: Path, titles: int, queries: int, repeats: int) -> dict[str, Any]:
    """Every variant's result, with what they were measured on."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        model = load_encoder(None)
        export_model(model, "all-MiniLM-L6-v2", root)
        tokens = BiEncoder.open(root).tokenize_items(texts(folder, titles, queries))
        write_fp32(PooledEncoder(model), example_inputs(), root / "fp32.onnx")
        exact = _run_single(OnnxModel(root / "fp32.onnx"), tokens)
        for name, write in variants(tokens[:100]).items():
            write(root / "fp32.onnx", root / "variant.onnx")
            results[name] = asdict(measure(root / "variant.onnx", tokens, exact, repeats))
            print(f"{name}: {json.dumps(results[name])}", flush=True)
    return {"parameters": _parameters(titles, queries, repeats), "results": results}


def _parameters(titles: int, queries: int, repeats: int) -> dict[str, Any]:
    return {
        "model": "all-MiniLM-L6-v2",
        "texts": {"titles": titles, "queries": queries},
        "shapes": SHAPES,
        "threads": 1,
        "repeats": repeats,
        "onnxruntime": onnxruntime.__version__,
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("TANDEM_DATA"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/quantization.json")
    parser.add_argument("--titles", type=int, default=300)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # the quantisers log every node
    if options.data is None:
        print("quantization: give --data, or set TANDEM_DATA", file=sys.stderr)
        return 2
    results = run(Path(options.data), options.titles, options.queries, options.repeats)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
