"""Reads JSONL: one object a line."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from core.errors import FeedError
from indexer.feed.batch import Batch, Broken, Row, batched, broken
from indexer.feed.lines import LINE_LIMIT, Lines, decoded, undecodable

_SAMPLE_ROWS = 1000
_SAMPLE_CHARACTERS = 1 << 24
# What is nested deeper is no product, and would exhaust the stack of whoever writes it out again.
_DEPTH = 100
_DIGITS = 1000


def open_jsonl(lines: Lines) -> tuple[list[str], Iterator[Batch]]:
    """The keys of the first rows, and batches of all. Raises FeedError when none of the first lines is an object."""
    rows = _rows(lines)
    ahead: list[tuple[int, Row | Broken]] = []
    for entry in rows:
        ahead.append(entry)
        if len(ahead) >= _SAMPLE_ROWS or lines.characters >= _SAMPLE_CHARACTERS:
            break
    objects = [row for _, row in ahead if isinstance(row, dict)]
    if ahead and not objects:
        first = ahead[0][1]
        why = f" (line {first.number}: {first.detail})" if isinstance(first, Broken) else ""
        raise FeedError(
            f"{lines.path}: begins like JSON, but no line is an object{why}; write one object a line (JSONL)"
        )
    columns = list(dict.fromkeys(key for row in objects for key in row))
    return columns, batched(chain(_drained(ahead), rows), lambda: lines.characters)


def _drained(entries: list[tuple[int, Row | Broken]]) -> Iterator[tuple[int, Row | Broken]]:
    yield from entries
    entries.clear()


def _rows(lines: Lines) -> Iterator[tuple[int, Row | Broken]]:
    for number, line in enumerate(lines, 1):
        lines.taken.clear()
        if not line.isspace():
            yield number, _row(number, line)


def _row(number: int, line: str) -> Row | Broken:
    if len(line) >= LINE_LIMIT:
        return broken(number, "row_too_long", f"over {LINE_LIMIT:,} characters", line)
    if not decoded(line):
        return undecodable(number, line)
    try:
        row = _loads(line.lstrip("\ufeff"))
    except RecursionError:
        return broken(number, "malformed_json", "nested too deeply", line)
    except ValueError as error:
        return broken(number, "malformed_json", str(error), line)
    if not isinstance(row, dict):
        return broken(number, "malformed_json", f"not an object but {type(row).__name__}", line)
    if line.count("[") + line.count("{") > _DEPTH and _deep(row):
        return broken(number, "malformed_json", "nested too deeply", line)
    return row


def _loads(line: str) -> Any:
    """The line's value; whole numbers that Python refuses to read, for their thousands of digits, as text."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(line, parse_int=lambda digits: int(digits) if len(digits) < _DIGITS else digits)


def _deep(value: Any) -> bool:
    """Whether lists and objects are nested beyond the limit."""
    level = [value]
    for _ in range(_DEPTH):
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))]
        level = list(chain.from_iterable(inner))
    return bool(level)
