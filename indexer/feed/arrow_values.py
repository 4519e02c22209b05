"""Converts Arrow arrays to Python values, floats to their shortest decimals: 39.99, not 39.9900016784668."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

# In characters; longer texts come cut. No field of a product keeps as many.
TEXT_LIMIT = 1 << 20


def python_values(array: pa.Array) -> list[Any]:
    """The array's values; a list of objects for structs, of pairs for maps.

    Texts that a dictionary shares stay shared. Raises ValueError, OverflowError or KeyError for a value that Python
    cannot hold, ArrowException for damaged data.
    """
    for fits, read in _READERS:
        if fits(array.type):
            return read(array)
    return list(array.to_pylist())


def _dictionary(array: pa.DictionaryArray) -> list[Any]:
    """Only what is used is made, and once: a text of a megabyte may stand in thousands of rows."""
    indices = array.indices
    ends = pc.min_max(indices).as_py()
    if ends["min"] is not None and not 0 <= ends["min"] <= ends["max"] < len(array.dictionary):
        raise pa.ArrowIndexError("a value beyond its dictionary")
    if len(array.dictionary) <= len(indices):
        known = python_values(array.dictionary)
        return [None if index is None else known[index] for index in indices.to_pylist()]
    used = pc.unique(indices).drop_null()
    values = dict(zip(used.to_pylist(), python_values(array.dictionary.take(used)), strict=True))
    return [None if index is None else values[index] for index in indices.to_pylist()]


def _texts(array: pa.Array) -> list[Any]:
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_string() if pa.types.is_string_view(array.type) else pa.large_binary())
    lengths = pc.max(pc.binary_length(array)).as_py()
    values = array.to_pylist() if lengths is None or lengths <= TEXT_LIMIT else _truncate(array)
    return list(values)


def _truncate(array: pa.Array) -> list[Any]:
    """The beginnings alone become Python's, one by one."""
    return [None if not value.is_valid else _truncate_value(value) for value in array]


def _truncate_value(value: pa.Scalar) -> Any:
    data = value.as_buffer()[: 4 * TEXT_LIMIT].to_pybytes()
    if pa.types.is_binary(value.type) or pa.types.is_large_binary(value.type):
        return data[:TEXT_LIMIT]
    return data.decode("utf-8", "ignore" if len(value.as_buffer()) > len(data) else "strict")[:TEXT_LIMIT]


def _floats(array: pa.Array) -> list[Any]:
    """The shortest decimals that stand for these floats of 16 or 32 bits."""
    if pa.types.is_float32(array.type):
        return list(array.cast(pa.string()).cast(pa.float64()).to_pylist())
    numbers = array.to_numpy(zero_copy_only=False)
    valid = array.is_valid().to_pylist()
    return [float(str(number)) if ok else None for number, ok in zip(numbers, valid, strict=True)]


def _struct(array: pa.StructArray) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [python_values(column) for column in array.flatten()]
    rows = zip(*columns, strict=True) if columns else ((),) * len(array)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if ok else None for row, ok in zip(rows, valid, strict=True)]


def _list(array: pa.Array) -> list[Any]:
    offsets = array.offsets.to_pylist()
    start, count = offsets[0], offsets[-1] - offsets[0]
    if pa.types.is_map(array.type):
        keys, items = (python_values(part.slice(start, count)) for part in (array.keys, array.items))
        values: list[Any] = list(zip(keys, items, strict=True))
    else:
        values = python_values(array.values.slice(start, count))
    ends = zip(offsets, offsets[1:], array.is_valid().to_pylist(), strict=False)
    return [values[first - start : last - start] if ok else None for first, last, ok in ends]


def _fixed_list(array: pa.FixedSizeListArray) -> list[Any]:
    size, values = array.type.list_size, iter(python_values(array.flatten()))
    return [[next(values) for _ in range(size)] if ok else None for ok in array.is_valid().to_pylist()]


def _list_view(array: pa.Array) -> list[Any]:
    spans = list(zip(array.offsets.to_pylist(), array.sizes.to_pylist(), array.is_valid().to_pylist(), strict=True))
    values = python_values(array.values)
    return [values[start : start + size] if ok else None for start, size, ok in spans]


def _extension(array: pa.ExtensionArray) -> list[Any]:
    values = python_values(array.storage)
    if array.type.extension_name == "arrow.uuid":
        return [None if value is None else str(UUID(bytes=value)) for value in values]
    return values


def _microseconds(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_timestamp(kind):
        return list(array.cast(pa.timestamp("us", kind.tz), safe=False).to_pylist())
    return list(
        array.cast(pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us"), safe=False).to_pylist()
    )


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return texts or types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _in_nanoseconds(kind: pa.DataType) -> bool:
    types = pa.types
    return (types.is_timestamp(kind) or types.is_duration(kind) or types.is_time64(kind)) and kind.unit == "ns"


_READERS: list[tuple[Callable[[pa.DataType], bool], Callable[[Any], list[Any]]]] = [
    (_is_text, _texts),
    (pa.types.is_dictionary, _dictionary),
    (pa.types.is_struct, _struct),
    (lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind), _list),
    (pa.types.is_fixed_size_list, _fixed_list),
    (lambda kind: pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind), _list_view),
    (lambda kind: pa.types.is_float16(kind) or pa.types.is_float32(kind), _floats),
    (_in_nanoseconds, _microseconds),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _extension),
]
