"""int8 by rows: the formula worked out in numpy, the bound that keeps sums exact, and independence from company."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.errors import ModelError
from training.quantize import WEIGHT_LIMIT, quantize_columns, quantize_rows

RANDOM = np.random.default_rng(5)
WEIGHTS = {name: RANDOM.normal(size=(16, 8)).astype(np.float32) for name in ("first", "second")}


def write_products(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """x W for each W, side by side."""
    nodes = [helper.make_node("MatMul", ["x", name], [f"y/{name}"]) for name in weights]
    nodes.append(helper.make_node("Concat", [f"y/{name}" for name in weights] or ["x"], ["y"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def by_formula(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """r = max|x| of the row; q = round(127 x / r); y = q W8 * column scale / 127 * r, in double precision."""
    small, scales = quantize_columns(weights, WEIGHT_LIMIT)
    rows = np.maximum(np.abs(x).max(axis=1, keepdims=True), 1e-9)
    return (np.rint(127 * x / rows) @ small.astype(float)) * scales / 127 * rows


@pytest.fixture
def quantised(tmp_path: Path) -> Path:
    assert quantize_rows(write_products(tmp_path / "fp32.onnx", WEIGHTS), tmp_path / "int8.onnx") == 2
    return tmp_path / "int8.onnx"


def test_columns_by_hand() -> None:
    small, scales = quantize_columns(np.array([[6.3, 0.0, -2.0], [-3.1, 0.0, 1.1]], np.float32), 63)
    np.testing.assert_allclose(scales[[0, 2]], [0.1, 2 / 63], rtol=1e-6)
    assert small.tolist() == [[63, 0, -63], [-31, 0, 35]]  # 1.1 * 63 / 2 = 34.65


def test_sums_of_two_products_never_saturate_16_bits() -> None:
    assert 2 * 255 * WEIGHT_LIMIT < 2**15


def test_the_graph_computes_the_formula(quantised: Path) -> None:
    x = RANDOM.normal(size=(7, 16)).astype(np.float32)
    expected = np.concatenate([by_formula(x.astype(float), weights) for weights in WEIGHTS.values()], axis=1)
    np.testing.assert_allclose(run(quantised, x), expected, rtol=1e-4, atol=1e-4)


def test_it_comes_close_to_the_original(quantised: Path) -> None:
    x = RANDOM.normal(size=(50, 16)).astype(np.float32)
    exact = np.concatenate([x @ weights for weights in WEIGHTS.values()], axis=1)
    result = run(quantised, x)
    assert np.linalg.norm(result - exact) < 0.02 * np.linalg.norm(exact)


def test_a_row_is_the_same_whatever_stands_beside_it(quantised: Path) -> None:
    row = RANDOM.normal(size=(1, 16)).astype(np.float32)
    company = np.concatenate([row, 1e4 * RANDOM.normal(size=(3, 16)).astype(np.float32)])
    np.testing.assert_array_equal(run(quantised, row)[0], run(quantised, company)[0])


def test_a_row_of_zeros_stays_zeros(quantised: Path) -> None:
    np.testing.assert_array_equal(run(quantised, np.zeros((2, 16), np.float32)), np.zeros((2, 16)))


def test_products_of_one_input_share_its_int8_form_and_fp32_weights_are_gone(quantised: Path) -> None:
    graph = onnx.load(str(quantised)).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QuantizeLinear") == 1
    assert kinds.count("MatMulIntegerToFloat") == 2
    assert not {"first", "second"} & {entry.name for entry in graph.initializer}


def test_a_model_without_matrix_products_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no matrix product"):
        quantize_rows(write_products(tmp_path / "fp32.onnx", {}), tmp_path / "int8.onnx")
