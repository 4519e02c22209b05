"""Values of tables as the plain text that a person would write: an id kept as 12340.000 is 12340."""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.decimals import plain_decimal

_WHOLE_FLOATS = 2.0**53  # beyond, a float may not be the whole number that was meant


def plain_text(value: Any) -> str:
    """A scalar as text. Raises ValueError for lists, objects, bytes that are not UTF-8, NaN and infinite numbers."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float() | Decimal() if not math.isfinite(value):
            raise ValueError(f"{value} is no value")
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_FLOATS else repr(value)
        case Decimal():
            return plain_decimal(value)
        case bytes():
            return value.decode()
        case datetime() if not (value.hour or value.minute or value.second or value.microsecond):
            return value.date().isoformat()
        case date():
            return value.isoformat()
        case Mapping() | list() | tuple():
            raise ValueError("an object or a list stands where one value is expected")
    return str(value)


def text_column(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column of any scalar type as plain texts without blanks around them, nulls as they are.

    Raises ValueError for values that `plain_text` refuses and texts that are not UTF-8.
    """
    column.validate(full=True)
    if not pa.types.is_string(column.type):
        column = _mapped(column, plain_text)
    return pc.utf8_trim_whitespace(column)


def _mapped(column: pa.Array | pa.ChunkedArray, text: Callable[[Any], str]) -> pa.Array | pa.ChunkedArray:
    """Each different value is made a text once."""
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([_mapped(chunk, text) for chunk in column.chunks], pa.string())
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = [None if value is None else text(value) for value in coded.dictionary.to_pylist()]
    return pa.array(values, pa.string()).take(coded.indices)
