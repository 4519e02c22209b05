"""Reads CSV, with any of the usual delimiters, as spreadsheets, databases and shop systems write it."""

import csv
import re
from collections.abc import Iterator

from core.errors import FeedError
from indexer.feed.batch import Broken, Row, broken
from indexer.feed.lines import Lines, decoded, undecodable
from indexer.feed.sniff import delimiter_of

_HEAD = 1 << 16
# An open quote is followed this far, in characters, before it is given up. Pictures inside a description are as long.
_FIELD_LIMIT = 1 << 20
# A row may have so many characters, over several lines.
_ROW_LIMIT = 1 << 24
# Excel's own hint at the delimiter, before the header.
_HINT = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
# A quote inside a field as MySQL and many programs write it, in place of two quotes.
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')


def open_csv(lines: Lines) -> tuple[list[str], Iterator[tuple[int, Row | Broken]]]:
    """The header's names and the rows. Raises FeedError for a file without a usable header."""
    csv.field_size_limit(_FIELD_LIMIT)
    delimiter = _hinted(lines) or delimiter_of(lines.peek(_HEAD))
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


def _hinted(lines: Lines) -> str | None:
    """The delimiter that a first line `sep=;` names, which is taken away."""
    first = next(lines, "")
    hint = _HINT.fullmatch(first)
    if not hint:
        lines.put_back([first] if first else [])
    lines.taken.clear()
    return hint[1] if hint else None


def _rows(lines: Lines, columns: list[str], delimiter: str) -> Iterator[tuple[int, Row | Broken]]:
    """The rows, each with a value for every column; a row that cannot be made to fit is broken.

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
            values, problem = [], str(error)
        if values is None:
            return
        if not problem and not any(value and not value.isspace() for value in values):
            continue  # an empty line, or a spreadsheet's row of empty cells
        number += 1
        fitted = None if problem else _fitted(values, width, lines.taken, delimiter)
        if fitted is None or _has_escapes(values, lines.taken):
            fitted = _escaped(lines, width, delimiter) or fitted or _forgiven(lines.taken, width, delimiter)
            reader = _reader(lines, delimiter)
        if fitted is not None:
            whole = decoded("".join(fitted))
            yield (
                number,
                dict(zip(columns, fitted, strict=True)) if whole else undecodable(number, "".join(lines.taken)),
            )
            continue
        problem = problem or f"{len(values)} fields where the header has {width}"
        yield number, broken(number, "malformed_csv", problem, lines.taken[0])
        lines.put_back(lines.taken[1:])


def _reader(lines: Lines, delimiter: str, escaped: bool = False) -> Iterator[list[str]]:
    # Strict: otherwise an open quote at the file's end, or before another quote, takes the rows between for its text.
    texts = (_ESCAPED_QUOTE.sub(r'\1""', line) for line in _bounded(lines)) if escaped else _bounded(lines)
    return csv.reader(texts, delimiter=delimiter, strict=True)


def _bounded(lines: Lines) -> Iterator[str]:
    """The same lines, so many characters between two rows. Raises csv.Error beyond."""
    size = 0
    for line in lines:
        size = len(line) + (size if len(lines.taken) > 1 else 0)
        if size > _ROW_LIMIT and len(lines.taken) > 1:
            raise csv.Error(f"a row of over {_ROW_LIMIT:,} characters")
        yield line


def _fitted(values: list[str], width: int, taken: list[str], delimiter: str) -> list[str] | None:
    """A row's values, as many as the header's: spreadsheets leave out empty cells at the end, or add some."""
    if len(values) == width:
        return values
    if len(values) > width:
        return None if any(values[width:]) else values[:width]
    # Short rows of several lines may be parts of two, and one field alone is no row.
    if (
        len(values) < 2
        or any(delimiter in line for line in taken[1:-1])
        or (len(taken) > 1 and width > 2 * len(values))
    ):
        return None
    return values + [""] * (width - len(values))


def _has_escapes(values: list[str], taken: list[str]) -> bool:
    """Whether a backslash before a quote may have ended a field of a row that looks well."""
    return any(value.endswith("\\") for value in values) and any('\\"' in line for line in taken)


def _escaped(lines: Lines, width: int, delimiter: str) -> list[str] | None:
    """The row once more, with backslashes before quotes read as quotes inside; None where that makes no row."""
    if not any('\\"' in line for line in lines.taken):
        return None
    before = lines.taken.copy()
    lines.put_back(before)
    lines.taken.clear()
    try:
        values = next(_reader(lines, delimiter, escaped=True), [])
    except csv.Error:
        values = []
    if len(values) == width:
        return values
    lines.put_back(lines.taken)
    lines.taken.clear()
    for _ in before:
        next(lines)
    return None


def _forgiven(taken: list[str], width: int, delimiter: str) -> list[str] | None:
    """The fields of one line with unescaped quotes inside, as in `"12" pipe"`; None where a quote stays open."""
    if len(taken) != 1:
        return None
    source = iter([*taken, ""])
    try:
        values = next(csv.reader(source, delimiter=delimiter))
    except csv.Error:
        return None
    return _fitted(values, width, taken, delimiter) if next(source, None) is not None else None


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
