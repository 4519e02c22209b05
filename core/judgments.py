"""Judgments: query, product, grade, and the split each query belongs to."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from core.decimals import plain_texts
from core.errors import FeedError
from core.text import query_key

SPLITS = ("train", "valid", "test")
JUDGMENTS_SCHEMA = pa.schema(
    [("query", pa.string()), ("product_id", pa.string()), ("grade", pa.float64()), ("split", pa.string())]
)


def load_judgments(path: Path) -> pa.Table:
    """Reads Parquet, CSV or JSONL with `query`, `product_id`, `grade` and, if given, `split` (train, valid, test).

    Without splits, each query falls into one by its digest: 80, 10 and 10 percent. Of a pair judged twice the last
    grade counts. Returns a table of `JUDGMENTS_SCHEMA`. Raises FeedError for a file that cannot be used.
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
    if "split" in table.column_names:
        columns["split"] = _splits(_cast(table, "split", path), path)
    else:
        columns["split"] = pa.array([split_of(query) for query in columns["query"].to_pylist()], pa.string())
    result = _last_of_each_pair(pa.table(columns, schema=JUDGMENTS_SCHEMA))
    _check(result, path)
    return result


def load_frequencies(path: Path) -> dict[str, float] | None:
    """How often each query is asked: the file's `frequency` or `count`, the highest of its rows; None without both.

    Raises FeedError for a file that cannot be used.
    """
    table = _read(path)
    name = next((name for name in ("frequency", "count") if name in table.column_names), None)
    if name is None:
        return None
    try:
        numbers = pa.table({"query": table["query"].cast(pa.string()), "asked": table[name].cast(pa.float64())})
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FeedError(f"{path}: column {name} holds {table[name].type}, which cannot be read as numbers") from None
    most = numbers.drop_null().group_by("query").aggregate([("asked", "max")])
    return dict(zip(most["query"].to_pylist(), most["asked_max"].to_pylist(), strict=True))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give judgments as Parquet, CSV or JSONL")
    readers = {".parquet": pyarrow.parquet.read_table, ".csv": _read_csv, ".jsonl": pyarrow.json.read_json}
    if path.suffix not in readers:
        raise FeedError(f"{path}: judgments are read from .parquet, .csv or .jsonl files")
    try:
        return readers[path.suffix](path)
    except pa.ArrowException as error:
        raise FeedError(f"{path}: cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from None


def _read_csv(path: Path) -> pa.Table:
    """Texts as they are written: an id such as 00123 is no number."""
    texts = {field.name: field.type for field in JUDGMENTS_SCHEMA if pa.types.is_string(field.type)}
    return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=texts))


def _missing(column: pa.ChunkedArray) -> int:
    empty = pc.sum(pc.equal(column, "")).as_py() if pa.types.is_string(column.type) else 0
    return int(column.null_count + (empty or 0))


def _cast(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    kind = JUDGMENTS_SCHEMA.field(name).type
    try:
        return (plain_texts(table[name]) if pa.types.is_string(kind) else table[name]).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FeedError(f"{path}: column {name} holds {table[name].type}, which cannot be read as {kind}") from None


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


def _check(table: pa.Table, path: Path) -> None:
    if not len(table):
        raise FeedError(f"{path}: holds no judgments")
    low, high = pc.min_max(table["grade"]).as_py().values()
    if low == high:
        raise FeedError(f"{path}: every grade is {low:g}; a model needs at least two different grades to learn from")
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
