"""Reads CSV, with any of the usual delimiters, as spreadsheets, databases and shop systems write it."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.errors import FeedError
from indexer.feed.batch import Batch, BrokenRow, Row, broken_row, split_batches
from indexer.feed.lines import Lines, is_decoded, undecodable_row
from indexer.feed.source import FeedSource

_HEAD = 1 << 16
_DELIMITERS = ",;\t|"
# An open quote is followed this far, in characters, before it is given up. Pictures inside a description are as long.
_FIELD_LIMIT = 1 << 20
# A row may have so many characters, over several lines.
_ROW_LIMIT = 1 << 24
# Excel's own hint at the delimiter, before the header.
_HINT = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
# A quote inside a field as MySQL and many programs write it, in place of two quotes.
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The columns' names, the delimiter, and how many lines there are before the first row."""

    columns: tuple[str, ...]
    delimiter: str
    lines: int


def read_header(lines: Lines) -> CsvHeader:
    """Reads the header, and before it the delimiter. Raises FeedError for a file without a usable header."""
    csv.field_size_limit(_FIELD_LIMIT)
    hint = _read_delimiter_hint(lines)
    delimiter = hint or detect_delimiter(lines.peek(_HEAD))
    try:
        header = next((row for row in _reader(lines, delimiter) if any(row)), [])
    except csv.Error as error:
        raise FeedError(f"{lines.path}: the first line is no CSV header: {error}") from None
    if len(header) < 2:
        raise FeedError(
            f"{lines.path}: neither Parquet nor JSONL, and as CSV its first line names fewer than two columns"
        )
    if not all(map(is_decoded, header)):
        raise FeedError(
            f"{lines.path}: the first line holds bytes that are not UTF-8 as the rest is; save all as UTF-8"
        )
    names = [" ".join(name.lstrip("\ufeff").split()) or f"column_{i}" for i, name in enumerate(header, 1)]
    return CsvHeader(tuple(_unique_names(names)), delimiter, len(lines.consumed) + (hint is not None))


def read_csv(source: FeedSource, encoding: str, header: CsvHeader) -> Iterator[Batch]:
    """All rows in batches."""
    with Lines(source.path, source.rewind(), encoding) as lines:
        lines.skip(header.lines)
        yield from split_batches(_rows(lines, header.columns, header.delimiter), lambda: lines.characters)


def detect_delimiter(sample: str) -> str:
    """The delimiter under which most lines of the sample have as many fields as the first; more fields break a tie."""
    best = (0.0, 0, ",")
    for delimiter in _DELIMITERS:
        widths = _widths(sample, delimiter)
        if widths and widths[0] > 1:
            best = max(best, (widths.count(widths[0]) / len(widths), widths[0], delimiter))
    return best[2]


def _widths(sample: str, delimiter: str) -> list[int]:
    """The number of fields of each line, up to one that no delimiter makes sense of."""
    widths: list[int] = []
    with suppress(csv.Error):
        widths.extend(len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row)
    return widths


def _read_delimiter_hint(lines: Lines) -> str | None:
    """The delimiter that a first line `sep=;` names; any other first line stays."""
    first = next(lines, "")
    hint = _HINT.fullmatch(first)
    if not hint:
        lines.put_back([first] if first else [])
    lines.consumed.clear()
    return hint[1] if hint else None


def _rows(lines: Lines, columns: Sequence[str], delimiter: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    """The rows, each with a value for every column; a row that cannot be made to fit is broken.

    Where such a row runs over several lines, an open quote has swallowed its neighbours: only its first line is given
    up, and reading goes on with the next.
    """
    number, width = 0, len(columns)
    reader = _reader(lines, delimiter)
    while True:
        lines.consumed.clear()
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
        fields = None if problem else _fit_width(values, width, lines.consumed, delimiter)
        if fields is None or _may_have_escapes(values, lines.consumed):
            fields = (
                _reread_escaped(lines, width, delimiter) or fields or _read_leniently(lines.consumed, width, delimiter)
            )
            reader = _reader(lines, delimiter)
        if fields is not None:
            yield number, _decoded_row(number, columns, fields, lines.consumed)
            continue
        problem = problem or f"{len(values)} fields where the header has {width}"
        yield number, broken_row(number, "malformed_csv", problem, lines.consumed[0])
        lines.put_back(lines.consumed[1:])


def _decoded_row(number: int, columns: Sequence[str], fields: list[str], consumed: list[str]) -> Row | BrokenRow:
    if is_decoded("".join(fields)):
        return dict(zip(columns, fields, strict=True))
    return undecodable_row(number, "".join(consumed))


def _reader(lines: Lines, delimiter: str, escaped: bool = False) -> Iterator[list[str]]:
    # Strict: otherwise an open quote at the file's end, or before another quote, takes the rows between for its text.
    texts = (_ESCAPED_QUOTE.sub(r'\1""', line) for line in _limit_row(lines)) if escaped else _limit_row(lines)
    return csv.reader(texts, delimiter=delimiter, strict=True)


def _limit_row(lines: Lines) -> Iterator[str]:
    """The same lines, so many characters between two rows. Raises csv.Error beyond."""
    size = 0
    for line in lines:
        size = len(line) + (size if len(lines.consumed) > 1 else 0)
        if size > _ROW_LIMIT and len(lines.consumed) > 1:
            raise csv.Error(f"a row of over {_ROW_LIMIT:,} characters")
        yield line


def _fit_width(values: list[str], width: int, consumed: list[str], delimiter: str) -> list[str] | None:
    """A row's values, as many as the header's: spreadsheets leave out empty cells at the end, or add some."""
    if len(values) == width:
        return values
    if len(values) > width:
        return None if any(values[width:]) else values[:width]
    # Short rows of several lines may be parts of two, and one field alone is no row.
    if (
        len(values) < 2
        or any(delimiter in line for line in consumed[1:-1])
        or (len(consumed) > 1 and width > 2 * len(values))
    ):
        return None
    return values + [""] * (width - len(values))


def _may_have_escapes(values: list[str], consumed: list[str]) -> bool:
    """Whether a backslash before a quote may have ended a field of a row that looks well."""
    return any(value.endswith("\\") for value in values) and any('\\"' in line for line in consumed)


def _reread_escaped(lines: Lines, width: int, delimiter: str) -> list[str] | None:
    """The row once more, with backslashes before quotes read as quotes inside; None where that makes no row."""
    if not any('\\"' in line for line in lines.consumed):
        return None
    before = lines.consumed.copy()
    lines.put_back(before)
    lines.consumed.clear()
    try:
        values = next(_reader(lines, delimiter, escaped=True), [])
    except csv.Error:
        values = []
    if len(values) == width:
        return values
    lines.put_back(lines.consumed)
    lines.consumed.clear()
    for _ in before:
        next(lines)
    return None


def _read_leniently(consumed: list[str], width: int, delimiter: str) -> list[str] | None:
    """The fields of one line with unescaped quotes inside, as in `"12" pipe"`; None where a quote stays open."""
    if len(consumed) != 1:
        return None
    source = iter([*consumed, ""])
    try:
        values = next(csv.reader(source, delimiter=delimiter))
    except csv.Error:
        return None
    return _fit_width(values, width, consumed, delimiter) if next(source, None) is not None else None


def _unique_names(names: list[str]) -> list[str]:
    """Names with a number added to those that came before: `image`, `image_2`."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        while name in counts:
            counts[name] += 1
            name = f"{name}_{counts[name]}"
        counts[name] = 1
        result.append(name)
    return result
