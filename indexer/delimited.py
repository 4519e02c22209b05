"""Reads CSV, with any of the usual delimiters."""

import csv
from collections.abc import Iterator

from core.errors import FeedError
from indexer.batch import Broken, Row, broken
from indexer.lines import Lines, decoded, undecodable
from indexer.sniff import delimiter_of

_HEAD = 1 << 16
# An open quote is followed this far, in characters, before it is given up. Pictures inside a description are as long.
_FIELD_LIMIT = 1 << 20


def open_csv(lines: Lines) -> tuple[list[str], Iterator[tuple[int, Row | Broken]]]:
    """The header's names and the rows. Raises FeedError for a file without a usable header."""
    csv.field_size_limit(_FIELD_LIMIT)
    delimiter = delimiter_of(lines.peek(_HEAD))
    try:
        header = next((row for row in _reader(lines, delimiter) if any(row)), [])
    except csv.Error as error:
        raise FeedError(f"{lines.path}: the first line is no CSV header: {error}") from None
    if len(header) < 2:
        raise FeedError(
            f"{lines.path}: neither Parquet nor JSONL, and as CSV its first line names fewer than two columns"
        )
    if not all(map(decoded, header)):
        raise FeedError(
            f"{lines.path}: the first line holds bytes that are not UTF-8 as the rest is; save all as UTF-8"
        )
    columns = _unique([" ".join(name.lstrip("\ufeff").split()) or f"column_{i}" for i, name in enumerate(header, 1)])
    return columns, _rows(lines, columns, delimiter)


def _rows(lines: Lines, columns: list[str], delimiter: str) -> Iterator[tuple[int, Row | Broken]]:
    """The rows; one with another number of fields than the header is broken.

    Where such a row runs over several lines, an open quote has swallowed its neighbours: only its first line is given
    up, and reading goes on with the next.
    """
    number, width = 0, len(columns)
    reader = _reader(lines, delimiter)
    while True:
        lines.taken.clear()
        problem = ""
        try:
            values = next(reader, None)
        except csv.Error as error:
            values, problem = _forgiven(lines.taken, delimiter), str(error)
            reader = _reader(lines, delimiter)
        if values is None:
            return
        if not values and not problem:
            continue  # an empty line
        number += 1
        if len(values) == width:
            whole = decoded("".join(values))
            yield (
                number,
                dict(zip(columns, values, strict=True)) if whole else undecodable(number, "".join(lines.taken)),
            )
            continue
        problem = problem or f"{len(values)} fields where the header has {width}"
        yield number, broken(number, "malformed_csv", problem, lines.taken[0])
        lines.put_back(lines.taken[1:])
        reader = _reader(lines, delimiter)


def _reader(lines: Lines, delimiter: str) -> Iterator[list[str]]:
    # Strict: otherwise an open quote at the file's end, or before another quote, takes the rows between for its text.
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _forgiven(taken: list[str], delimiter: str) -> list[str]:
    """The fields of one line with unescaped quotes inside, as in `"12" pipe"`; none where a quote stays open."""
    if len(taken) != 1:
        return []
    source = iter([*taken, ""])
    try:
        values = next(csv.reader(source, delimiter=delimiter))
    except csv.Error:
        return []
    return values if next(source, None) is not None else []


def _unique(names: list[str]) -> list[str]:
    """Names with a number added to those that came before: `image`, `image_2`."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        while name in seen:
            seen[name] += 1
            name = f"{name}_{seen[name]}"
        seen[name] = 1
        result.append(name)
    return result
