"""Reads JSONL: one object a line."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from core.errors import FeedError
from indexer.feed.batch import Batch, BrokenRow, Row, broken_row, split_batches
from indexer.feed.lines import LINE_LIMIT, Lines, is_decoded, undecodable_row
from indexer.feed.source import FeedSource

_SAMPLE_ROWS = 1000
_SAMPLE_CHARACTERS = 1 << 24
# Deeper nesting is no product, and would exhaust the stack when it is serialised.
_DEPTH = 100
_DIGITS = 1000


def read_keys(lines: Lines) -> tuple[str, ...]:
    """The keys of the first rows. Raises FeedError when none of the first lines is an object."""
    keys: dict[str, None] = {}
    first: BrokenRow | None = None
    objects = 0
    for count, (_, row) in enumerate(_rows(lines), 1):
        if isinstance(row, BrokenRow):
            first = first or row
        else:
            objects += 1
            keys |= dict.fromkeys(row)
        if count >= _SAMPLE_ROWS or lines.characters >= _SAMPLE_CHARACTERS:
            break
    if first and not objects:
        raise FeedError(
            f"{lines.path}: begins like JSON, but no line is an object (line {first.number}: {first.detail}); "
            "write one object a line (JSONL)"
        )
    return tuple(keys)


def read_jsonl(source: FeedSource, encoding: str) -> Iterator[Batch]:
    """All rows in batches."""
    with Lines(source.path, source.rewind(), encoding) as lines:
        yield from split_batches(_rows(lines), lambda: lines.characters)


def _rows(lines: Lines) -> Iterator[tuple[int, Row | BrokenRow]]:
    for number, line in enumerate(lines, 1):
        lines.consumed.clear()
        if not line.isspace():
            yield number, _parse_row(number, line)


def _parse_row(number: int, line: str) -> Row | BrokenRow:
    if len(line) >= LINE_LIMIT:
        return broken_row(number, "row_too_long", f"over {LINE_LIMIT:,} characters", line)
    if not is_decoded(line):
        return undecodable_row(number, line)
    try:
        row = _parse_json(line.lstrip("\ufeff"))
    except RecursionError:
        return broken_row(number, "malformed_json", "nested too deeply", line)
    except ValueError as error:
        return broken_row(number, "malformed_json", str(error), line)
    if not isinstance(row, dict):
        return broken_row(number, "malformed_json", f"not an object but {type(row).__name__}", line)
    if line.count("[") + line.count("{") > _DEPTH and _is_too_deep(row):
        return broken_row(number, "malformed_json", "nested too deeply", line)
    return row


def _parse_json(line: str) -> Any:
    """The line's value; whole numbers that Python refuses to read, for their thousands of digits, as text."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(line, parse_int=lambda digits: int(digits) if len(digits) < _DIGITS else digits)


def _is_too_deep(value: Any) -> bool:
    """Whether lists and objects are nested beyond the limit."""
    level = [value]
    for _ in range(_DEPTH):
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))]
        level = list(chain.from_iterable(inner))
    return bool(level)
