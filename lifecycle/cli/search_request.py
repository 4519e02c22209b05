"""Reads what the options of `tandem search` ask of a list of results."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from core.errors import TandemError
from core.strings import quoted
from tandem.v1 import search_pb2

_Value = TypeVar("_Value")


def read_facet(text: str, exclude_own_filter: bool) -> search_pb2.FacetRequest:
    """Reads FIELD, FIELD:LIMIT, or FIELD:BORDER,BORDER,… of ranges. Raises TandemError for numbers that are none.

    A field may have colons: what follows the last one is numbers only where it begins with a digit or a sign.
    """
    name, _, numbers = text.rpartition(":")
    if not name or numbers[:1] not in set("+-.0123456789") or not numbers:
        return search_pb2.FacetRequest(field=text, exclude_own_filter=exclude_own_filter)
    facet = search_pb2.FacetRequest(field=name, exclude_own_filter=exclude_own_filter)
    if "," in numbers:
        facet.borders.extend(_number(float, border, "--facet", text) for border in numbers.split(","))
    else:
        facet.limit = _number(_int32, numbers, "--facet", text)
    return facet


def read_sort_key(text: str) -> search_pb2.SortKey:
    """Reads FIELD, or -FIELD for the highest first."""
    return search_pb2.SortKey(field=text.removeprefix("-"), descending=text.startswith("-"))


def read_cap(text: str) -> search_pb2.Cap:
    """Reads FIELD=N. Raises TandemError for anything else."""
    name, sign, number = text.rpartition("=")
    if not sign or not name:
        raise TandemError(f"--cap {quoted(text)} names no number; write FIELD=N, as in brand=3")
    return search_pb2.Cap(field=name, most=_number(_int32, number, "--cap", text))


def read_fields(texts: Sequence[str]) -> list[str]:
    """The names in lists that commas separate."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def enum_value(prefix: str, name: str) -> str:
    """The name of an enum's value; the unspecified one without a name."""
    return f"{prefix}_{name.upper().replace('-', '_') or 'UNSPECIFIED'}"


def _number(read: Callable[[str], _Value], number: str, option: str, text: str) -> _Value:
    try:
        return read(number)
    except ValueError:
        raise TandemError(f"{option} {quoted(text)}: {quoted(number)} is no number that fits") from None


def _int32(text: str) -> int:
    number = int(text)
    if not -(2**31) <= number < 2**31:
        raise ValueError(text)
    return number
