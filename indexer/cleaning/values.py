"""Values of a row: picked by a mapping's names, joined, and flattened."""

import json
from collections.abc import Iterator
from typing import Any

from indexer.cleaning.text import as_text
from indexer.feed.batch import Row


def get_value(row: Row, column: str) -> Any:
    """A column's value; `a.b` is member b of the object in column a, unless there is a column of that name."""
    value = row.get(column)
    if value is not None or "." not in column or column in row:
        return value
    value = row
    for part in column.split("."):
        value = first_value(value)
        if isinstance(value, list):
            return None
        value = value.get(part) if isinstance(value, dict) else None
    return value


def first_value(value: Any) -> Any:
    """A list's first value that is not empty; anything else unchanged."""
    while isinstance(value, (list, tuple)):
        value = next((item for item in value if item is not None and item != ""), None)
    return value


def join_values(value: Any, joiner: str | None) -> str:
    if joiner is None or not isinstance(value, list):
        return as_text(first_value(value))
    return joiner.join(filter(None, (as_text(first_value(item)) for item in value)))


def attribute_pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Names and texts in an attribute's value; an object or an Arrow map gives one for each member."""
    if isinstance(value, dict):
        yield from ((str(key), _flat(member)) for key, member in value.items())
    elif isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        yield from ((str(key), _flat(member)) for key, member in value)
    else:
        yield name, _flat(value)


def _flat(value: Any) -> str:
    """Any value as one text: a list of scalars joined by commas, what is nested deeper as JSON."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, (dict, list, tuple)) for v in value)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(as_text, value)))
    return as_text(value)
