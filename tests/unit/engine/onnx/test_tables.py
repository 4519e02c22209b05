"""Embedding tables mapped from the model's own file. The models are built by hand, with the `onnx` package."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.onnx.session import OnnxModel
from engine.onnx.tables import embedding_tables

ROWS, WIDTH = 600, 500  # 1.2 MB
TABLE = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
INPUTS = ("input_ids", "attention_mask")


def write_model(path: Path, table: np.ndarray = TABLE, *more: onnx.NodeProto, raw: bool = True) -> Path:
    """The sum of the tokens' rows."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "second"], ["output"], keepdims=0),
        *more,
    ]
    kind = helper.np_dtype_to_tensor_dtype(table.dtype)
    initializer = helper.make_tensor("table", kind, table.shape, table.tobytes() if raw else table.ravel(), raw=raw)
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", WIDTH])],
        [
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            initializer,
            numpy_helper.from_array(np.array([1], np.int64), "second"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_the_table_is_found_where_it_lies_in_the_file(tmp_path: Path) -> None:
    [(name, table)] = embedding_tables(write_model(tmp_path / "toy.onnx")).items()
    assert name == "table" and isinstance(table, np.memmap) and not table.flags.writeable
    np.testing.assert_array_equal(table, TABLE)


@pytest.mark.parametrize(
    "table", [TABLE[:100], TABLE.astype(np.float64), TABLE.reshape(2, -1, WIDTH)], ids=["small", "wide", "deep"]
)
def test_other_tables_are_left_alone(tmp_path: Path, table: np.ndarray) -> None:
    assert embedding_tables(write_model(tmp_path / "toy.onnx", table)) == {}


def test_what_is_computed_with_as_well_is_left_alone(tmp_path: Path) -> None:
    product = helper.make_node("MatMul", ["output", "table"], ["product"])
    assert embedding_tables(write_model(tmp_path / "toy.onnx", TABLE, product)) == {}
    indices = helper.make_node("Gather", ["output", "table"], ["odd"])
    assert embedding_tables(write_model(tmp_path / "toy.onnx", TABLE, indices)) == {}


def test_numbers_that_are_not_raw_bytes_are_left_alone(tmp_path: Path) -> None:
    assert embedding_tables(write_model(tmp_path / "toy.onnx", raw=False)) == {}


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 9, b"\x3a"])
def test_what_is_no_model_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    assert embedding_tables(tmp_path / "broken.onnx") == {}


def test_a_truncated_model_has_none(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "toy.onnx").read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 40):
        (tmp_path / "part.onnx").write_bytes(whole[:size])
        assert embedding_tables(tmp_path / "part.onnx") == {}


def test_a_session_reads_the_file_itself(tmp_path: Path) -> None:
    """What is written there after it was opened is what it answers with; otherwise it would not see that."""
    path = write_model(tmp_path / "toy.onnx")
    own, mapped = OnnxModel(path), OnnxModel(path, mapped=True)
    tokens = [np.array([3, 599], np.int32), np.array([0], np.int32)]
    expected = [TABLE[3] + TABLE[599], TABLE[0]]
    np.testing.assert_array_equal(own.run(tokens), expected)
    np.testing.assert_array_equal(mapped.run(tokens), expected)
    place = path.read_bytes().index(TABLE.tobytes())
    with path.open("r+b") as file:
        file.seek(place + 4 * 3 * WIDTH)
        file.write(np.full(WIDTH, 7, np.float32).tobytes())
    np.testing.assert_array_equal(own.run(tokens), expected)
    np.testing.assert_array_equal(mapped.run(tokens), [7 + TABLE[599], TABLE[0]])
