"""Embedding tables of an ONNX file, mapped from it instead of read: processes that run one model share their pages.

They are most of a small text model, and a request reads a few rows of them. All other weights ONNX Runtime packs into
memory of its own. The file is protobuf (onnx/onnx.proto, of which a few fields are needed), walked here since serving
does without the `onnx` package.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_LEAST_BYTES = 1 << 20
_FLOAT = 1
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# Numbers of fields.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_TENSOR, _NODE_INPUT, _NODE_KIND = 7, 1, 5, 1, 4
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
# Where tensors can be: of each message the numbers of fields that hold others.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


@dataclass(slots=True)
class _Tensor:
    name: str = ""
    kind: int = 0
    dims: list[int] = field(default_factory=list)
    start: int = 0
    size: int = 0


def embedding_tables(path: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 tables, shape (v, d), of a mebibyte or more, that the model takes rows of and uses for nothing else.

    By name, read-only and mapped; none where the file is no such model. It must not be changed in place afterwards.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            tensors, gathered = _read(data)
    except (IndexError, ValueError):  # ONNX Runtime reports what is wrong with it
        return {}
    return {
        tensor.name: np.memmap(path, np.float32, "r", tensor.start, (tensor.dims[0], tensor.dims[1]))
        for tensor in tensors
        if tensor.name in gathered
        and tensor.kind == _FLOAT
        and len(tensor.dims) == 2
        and tensor.size >= _LEAST_BYTES
        and tensor.size == 4 * tensor.dims[0] * tensor.dims[1]
    }


def external_tensor(path: Path) -> str | None:
    """The name of a tensor, anywhere in the model, whose values are in another file; None where there is none.

    Raises OSError, ValueError or IndexError for what is no model, or holds what ONNX does not write.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        messages = [("model", 0, len(data))]
        while messages:
            kind, start, end = messages.pop()
            inside = _INSIDE.get(kind, {})
            for number, begin, stop in _fields(data, start, end):
                if number in inside:
                    messages.append((inside[number], begin, stop))
                elif kind == "tensor" and (
                    number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and _varint(data, begin)[0])
                ):
                    return _tensor(data, start, end).name
    return None


def _read(data: mmap.mmap) -> tuple[list[_Tensor], set[str]]:
    """The initializers of the graph, and the names of what rows are gathered of and nothing else is made with.

    A kernel that copies rows does not mind where in the file they begin; one that computes might.
    """
    tensors: list[_Tensor] = []
    gathered: set[str] = set()
    other: set[str] = set()
    for number, start, end in _fields(data, 0, len(data)):
        if number != _MODEL_GRAPH:
            continue
        for part, begin, stop in _fields(data, start, end):
            if part == _GRAPH_TENSOR:
                tensors.append(_tensor(data, begin, stop))
            elif part == _GRAPH_NODE:
                kind, inputs = _node(data, begin, stop)
                rows_of = 1 if kind == "Gather" else 0
                gathered.update(inputs[:rows_of])
                other.update(inputs[rows_of:])
    return tensors, gathered - other


def _node(data: mmap.mmap, start: int, end: int) -> tuple[str, list[str]]:
    """What it does, and the names of its inputs."""
    kind, inputs = "", []
    for number, begin, stop in _fields(data, start, end):
        if number == _NODE_INPUT:
            inputs.append(data[begin:stop].decode())
        elif number == _NODE_KIND:
            kind = data[begin:stop].decode()
    return kind, inputs


def _tensor(data: mmap.mmap, start: int, end: int) -> _Tensor:
    tensor = _Tensor()
    for number, begin, stop in _fields(data, start, end):
        if number == _TENSOR_NAME:
            tensor.name = data[begin:stop].decode()
        elif number == _TENSOR_TYPE:
            tensor.kind = _varint(data, begin)[0]
        elif number == _TENSOR_RAW:
            tensor.start, tensor.size = begin, stop - begin
        elif number == _TENSOR_DIMS:  # packed or one by one, both end where the field does
            while begin < stop:
                size, begin = _varint(data, begin)
                tensor.dims.append(size)
    return tensor


def _fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, and begin and end of the value, of each field of a message."""
    while place < end:
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == _BYTES:
            size, place = _varint(data, place)
            stop = place + size
        elif kind == _VARINT:
            stop = _varint(data, place)[1]
        elif kind in (_EIGHT, _FOUR):
            stop = place + (8 if kind == _EIGHT else 4)
        else:
            raise ValueError(f"no kind of field: {kind}")
        if stop > end:
            raise ValueError("a field runs past its message")
        yield number, place, stop
        place = stop


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
