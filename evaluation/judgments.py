"""Judgments: query, product, grade, and the split each query belongs to."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from core.errors import FeedError
from core.plain import plain_text, text_column
from core.strings import query_key, quoted

SPLITS = ("train", "valid", "test")
_HIGHEST = 100
JUDGMENTS_SCHEMA = pa.schema(
    [("query", pa.string()), ("product_id", pa.string()), ("grade", pa.float64()), ("split", pa.string())]
)
_TEXTS = ("query", "product_id", "split")
_NUMBERS = ("grade", "frequency", "count")
# What pyarrow raises for damaged files: OSError too, and UnicodeDecodeError, which is a ValueError as ArrowInvalid is.
_DAMAGED = (pa.ArrowException, OSError, ValueError)


def load_judgments(path: Path, to_learn: bool = False) -> pa.Table:
    """Reads Parquet, CSV or JSONL with `query`, `product_id`, `grade` and, if given, `split` (train, valid, test).

    Without splits, each query falls into one by its digest: 80, 10 and 10 percent. Of a pair judged twice the last
    grade counts; blanks around a text do not. Returns a table of `JUDGMENTS_SCHEMA`. Raises FeedError for a file that
    cannot be used; with `to_learn`, for one with a single grade too.
    """
    table = _read(path)
    missing = {"query", "product_id", "grade"} - set(table.column_names)
    if missing:
        raise FeedError(f"{path}: no column {', '.join(sorted(missing))}; it has {', '.join(table.column_names)}")
    columns = {name: _cast(table, name, path) for name in ("query", "product_id", "grade")}
    for name, column in columns.items():
        if missing_values := _missing(column):
            raise FeedError(f"{path}: {missing_values} rows have no {name}; remove or complete them")
    if pc.any(pc.invert(pc.is_finite(columns["grade"]))).as_py():
        raise FeedError(f"{path}: some grade is infinite or not a number; remove or correct it")
    if (pc.max(pc.abs(columns["grade"])).as_py() or 0) > _HIGHEST:
        raise FeedError(
            f"{path}: some grade is beyond {_HIGHEST}; each one more counts twice as much, so give small ones"
        )
    if "split" in table.column_names:
        columns["split"] = _splits(_cast(table, "split", path), path)
    else:
        columns["split"] = pa.array([split_of(query) for query in columns["query"].to_pylist()], pa.string())
    columns["product_id"] = _whole_ids(columns["product_id"])
    result = _last_of_each_pair(pa.table(columns, schema=JUDGMENTS_SCHEMA))
    _check(result, path, to_learn)
    return result


def load_frequencies(path: Path) -> dict[str, float] | None:
    """How often each query occurs: the file's `frequency` or `count`, the highest of its rows; None without both.

    Raises FeedError for a file that cannot be used.
    """
    table = _read(path)
    name = next((name for name in ("frequency", "count") if name in table.column_names), None)
    if name is None:
        return None
    if "query" not in table.column_names:
        raise FeedError(f"{path}: no column query; it has {', '.join(table.column_names)}")
    try:
        counts = table[name].cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FeedError(f"{path}: column {name} holds {table[name].type}, which cannot be read as numbers") from None
    numbers = pa.table({"query": _cast(table, "query", path), "count": counts})
    most = numbers.drop_null().group_by("query").aggregate([("count", "max")])
    return dict(zip(most["query"].to_pylist(), most["count_max"].to_pylist(), strict=True))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give judgments as Parquet, CSV or JSONL")
    readers = {".parquet": pyarrow.parquet.read_table, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        raise FeedError(f"{path}: judgments are read from .parquet, .csv or .jsonl files")
    try:
        return readers[path.suffix](path)
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "; save it as UTF-8" if "utf" in reason.lower() else ""
        raise FeedError(f"{path}: cannot be read as {path.suffix[1:]}: {reason}{hint}") from None


def _read_csv(path: Path) -> pa.Table:
    """Texts as they are written: an id such as 00123 is no number."""
    texts = {field.name: field.type for field in JUDGMENTS_SCHEMA if pa.types.is_string(field.type)}
    return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=texts))


def _read_jsonl(path: Path) -> pa.Table:
    """Reads a line at a time, as JSON carries its own types: a query such as 2020-01-02 is no date.

    Unknown columns keep only their names.
    """
    columns: dict[str, list[Any]] = {}
    rows = 0
    for number, row in _objects(path):
        for name, value in row.items():
            values = columns.setdefault(name, [])
            if name in _TEXTS + _NUMBERS:
                values += [None] * (rows - len(values)) + [_value(name, value, f"{path}, line {number}")]
        rows += 1
    types = {name: pa.string() if name in _TEXTS else pa.float64() for name in columns}
    return pa.table(
        {name: pa.array(values + [None] * (rows - len(values)), types[name]) for name, values in columns.items()}
    )


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines' numbers from 1, and what they hold; empty lines are left out."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError:
                raise FeedError(f"{path}, line {number}: is not UTF-8; save the file as UTF-8") from None
            except (ValueError, RecursionError) as error:
                raise FeedError(f"{path}, line {number}: cannot be read as jsonl: {error}") from None
            if not isinstance(row, dict):
                raise FeedError(f"{path}, line {number}: is no object with query, product_id and grade")
            yield number, row


def _value(name: str, value: Any, where: str) -> str | float | None:
    try:
        if value is None:
            return None
        return plain_text(value) if name in _TEXTS else float(value)
    except (ValueError, TypeError, OverflowError):
        expected = "a text" if name in _TEXTS else "a number"
        raise FeedError(f"{where}: {name} holds {quoted(str(value))}; it must be {expected}") from None


def _missing(column: pa.ChunkedArray) -> int:
    empty = pc.sum(pc.equal(column, "")).as_py() if pa.types.is_string(column.type) else 0
    return int(column.null_count + (empty or 0))


def _cast(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    kind = JUDGMENTS_SCHEMA.field(name).type
    try:
        return text_column(table[name]) if pa.types.is_string(kind) else table[name].cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        if "utf" in str(error).lower():
            raise FeedError(f"{path}: column {name} is not UTF-8; save the file as UTF-8") from None
        raise FeedError(f"{path}: column {name} holds {table[name].type}, which cannot be read as {kind}") from None


def _whole_ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as they were before a table program took them for numbers, where all of them are such as 1001.0."""
    if pc.all(pc.match_substring_regex(column, r"^\d+\.0$")).as_py():
        return pc.replace_substring_regex(column, r"\.0$", "")
    return column


def _splits(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    unknown = set(column.unique().to_pylist()) - set(SPLITS)
    if unknown:
        raise FeedError(f"{path}: split holds {sorted(map(str, unknown))[0]!r}; it must be train, valid or test")
    return column


def split_of(query: str) -> str:
    """The split of a query that none is given for; queries alike but for case and spaces share it."""
    share = hashlib.sha256(query_key(query).encode()).digest()[0] / 256
    return "train" if share < 0.8 else "valid" if share < 0.9 else "test"


def _last_of_each_pair(table: pa.Table) -> pa.Table:
    rows = table.append_column("row", pa.array(range(len(table)), pa.int64()))
    last = rows.group_by(["query", "product_id"], use_threads=False).aggregate([("row", "max")])
    return table.take(last["row_max"].sort())


def _check(table: pa.Table, path: Path, to_learn: bool) -> None:
    if not len(table):
        raise FeedError(f"{path}: holds no judgments")
    low, high = pc.min_max(table["grade"]).as_py().values()
    if low == high and to_learn:
        raise FeedError(f"{path}: every grade is {low:g}; a model needs at least two different grades to learn from")
    if low == high and high <= 0:
        raise FeedError(f"{path}: every grade is {low:g}, so no product is relevant; give what fits a higher grade")
    _check_splits(table, path)


def _check_splits(table: pa.Table, path: Path) -> None:
    """No query may stand in two splits, nor its like in other case or spaces: a test query would be trained on."""
    first: dict[str, tuple[str, str]] = {}
    torn: dict[str, tuple[str, str, str, str]] = {}
    for row in table.group_by(["query", "split"], use_threads=False).aggregate([]).to_pylist():
        key, here = query_key(row["query"]), (row["query"], row["split"])
        there = first.setdefault(key, here)
        if there[1] != here[1]:
            torn[key] = (*there, *here)
    if torn:
        query, split, other, another = next(iter(torn.values()))
        raise FeedError(
            f"{path}: {len(torn)} queries stand in more than one split, such as {query!r} in {split} and {other!r} in "
            f"{another}, so that what is tested would have been trained on; give each query one split"
        )
