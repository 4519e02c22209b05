"""Weights smoothed and rounded for int8: by hand where nothing moves together, and nearer to fp32 where it does."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.quantize import quantize_columns, quantize_rows
from training.rounding import ObservedInputs, channel_scales, observe, round_columns

RANDOM = np.random.default_rng(3)


def written(path: Path, weights: np.ndarray) -> Path:
    """y = W of the rows of a table that ids choose: a model of token ids whose activations are known."""
    table = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["rows", "ids"], ["x"]), helper.make_node("MatMul", ["x", "W"], ["y"])],
        "chosen",
        [table("ids", TensorProto.INT64, ["n", "t"])],
        [table("y", TensorProto.FLOAT, ["n", "t", weights.shape[1]])],
        [numpy_helper.from_array(ROWS, "rows"), numpy_helper.from_array(weights, "W")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


# Eight directions, so that 24 channels move together, and one channel far larger than the others.
ROWS = (RANDOM.normal(size=(200, 8)) @ RANDOM.normal(size=(8, 24))).astype(np.float32)
ROWS[:, 5] *= 30
FEEDS = [{"ids": RANDOM.integers(0, 200, (1, 12))} for _ in range(40)]


def test_what_flows_in_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", RANDOM.normal(size=(24, 4)).astype(np.float32))
    seen = observe(path, ["x"], FEEDS)["x"]
    rows = np.concatenate([ROWS[feed["ids"][0]] for feed in FEEDS])
    np.testing.assert_allclose(seen.largest, np.abs(rows).max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(seen.moments, rows.T.astype(float) @ rows, rtol=1e-3, atol=1e-2)


def test_scales_by_hand() -> None:
    seen = ObservedInputs(np.array([16.0, 1.0], np.float32), np.eye(2))
    # sqrt(16 / 1) = 4 and sqrt(1 / 4) = 1/2, over their geometric mean sqrt(2).
    scales = channel_scales(seen, [np.array([[0.5, -1.0], [4.0, 0.0]], np.float32)])
    assert scales == pytest.approx([4 / 2**0.5, 0.5 / 2**0.5])


def test_channels_that_never_move_have_a_scale() -> None:
    scales = channel_scales(ObservedInputs(np.zeros(3, np.float32), np.zeros((3, 3))), [np.zeros((3, 2), np.float32)])
    assert scales == pytest.approx([1, 1, 1])


def test_where_nothing_moves_together_it_is_plain_rounding() -> None:
    weights = RANDOM.normal(size=(150, 7)).astype(np.float32)
    small, scales = round_columns(weights, np.diag(RANDOM.uniform(1, 9, 150)), 63)
    plain, expected = quantize_columns(weights, 63)
    np.testing.assert_array_equal(small, plain)
    np.testing.assert_array_equal(scales, expected)


def test_rounding_makes_up_for_its_errors_where_channels_move_together() -> None:
    weights = RANDOM.normal(size=(24, 6)).astype(np.float32)
    exact = ROWS @ weights
    moments = ROWS.T.astype(float) @ ROWS

    def error(pair: tuple[np.ndarray, np.ndarray]) -> float:
        return float(np.linalg.norm(ROWS @ (pair[0] * pair[1]) - exact))

    rounded = round_columns(weights, moments, 7)
    assert np.abs(rounded[0]).max() <= 7
    assert error(rounded) < 0.5 * error(quantize_columns(weights, 7))


def test_a_model_made_int8_with_inputs_known_comes_closer(tmp_path: Path) -> None:
    path = written(tmp_path / "fp32.onnx", RANDOM.normal(size=(24, 6)).astype(np.float32))
    quantize_rows(path, tmp_path / "plain.onnx")
    quantize_rows(path, tmp_path / "known.onnx", feeds=FEEDS)
    ids = {"ids": np.arange(200)[None]}
    exact, plain, known = (
        onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"]).run(None, ids)[0]
        for name in ("fp32.onnx", "plain.onnx", "known.onnx")
    )
    assert np.linalg.norm(known - exact) < 0.7 * np.linalg.norm(plain - exact)
