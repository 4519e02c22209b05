"""The ONNX session: padding, masks, segments, threads, and what it refuses. The model is built by hand."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.errors import ModelError
from engine.onnx.session import OnnxModel

TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)  # token t is the vector 4t, 4t + 1, 4t + 2, 4t + 3


def write_model(path: Path, inputs: list[str]) -> Path:
    """The sum over tokens that are not masked out of their vectors, plus the sum of segment ids where it takes them."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "second"], ["sum"], keepdims=0),
    ]
    if "token_type_ids" in inputs:
        nodes += [
            helper.make_node("Cast", ["token_type_ids"], ["kinds"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["kinds", "second"], ["kind"], keepdims=1),
            helper.make_node("Add", ["sum", "kind"], ["output"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["sum"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 4])],
        [
            numpy_helper.from_array(TABLE, "table"),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "second"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_each_sequence_counts_its_own_tokens_alone(tmp_path: Path) -> None:
    model = OnnxModel(write_model(tmp_path / "toy.onnx", ["input_ids", "attention_mask"]))
    result = model.run([ids(1, 2), ids(3), ids(0, 0, 9)])
    expected = [TABLE[1] + TABLE[2], TABLE[3], TABLE[0] + TABLE[0] + TABLE[9]]
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


def test_segments_reach_a_model_that_takes_them(tmp_path: Path) -> None:
    model = OnnxModel(write_model(tmp_path / "toy.onnx", ["input_ids", "attention_mask", "token_type_ids"]))
    tokens = [ids(1), ids(2, 3, 4)]
    np.testing.assert_array_equal(
        model.run(tokens, [ids(1), ids(0, 1, 1)]), [TABLE[1] + 1, TABLE[2] + TABLE[3] + TABLE[4] + 2]
    )
    np.testing.assert_array_equal(model.run(tokens), [TABLE[1], TABLE[2] + TABLE[3] + TABLE[4]])


def test_segments_are_ignored_by_a_model_without_them(tmp_path: Path) -> None:
    model = OnnxModel(write_model(tmp_path / "toy.onnx", ["input_ids", "attention_mask"]))
    np.testing.assert_array_equal(model.run([ids(5)], [ids(1)]), [TABLE[5]])


def test_nothing_in_gives_nothing_out(tmp_path: Path) -> None:
    model = OnnxModel(write_model(tmp_path / "toy.onnx", ["input_ids", "attention_mask"]))
    assert model.run([]).shape == (0, 4)


def test_threads_share_one_session(tmp_path: Path) -> None:
    model = OnnxModel(write_model(tmp_path / "toy.onnx", ["input_ids", "attention_mask"]))
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(lambda t: model.run([ids(*([t % 10] * (1 + t % 7)))])[0], range(400)))
    for t, vector in enumerate(result):
        np.testing.assert_array_equal(vector, TABLE[t % 10] * (1 + t % 7))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: no such model file"):
        OnnxModel(tmp_path / "absent.onnx")


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "junk.onnx"
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="is not a model that ONNX Runtime reads") as caught:
        OnnxModel(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inputs", [["input_ids", "attention_mask", "pixels"]])
def test_a_model_of_something_else_is_refused(tmp_path: Path, inputs: list[str]) -> None:
    with pytest.raises(ModelError, match="pixels"):
        OnnxModel(write_model(tmp_path / "other.onnx", inputs))
