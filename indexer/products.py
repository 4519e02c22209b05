"""A feed becomes the catalog's columns: mapped, cleaned, without repeats, in the feed's order."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from catalog.product import CATALOG_SCHEMA
from core.errors import FeedError
from core.progress import Report, ignore
from indexer.cleaning.codes import Spelling
from indexer.cleaning.mapping import Mapping, default_mapping
from indexer.cleaning.rejection import Rejected
from indexer.cleaning.row import RowCleaner
from indexer.feed.batch import Batch
from indexer.feed.read import Feed, open_feed

BATCH_ROWS = 8192
PRODUCTS = "products.arrow"
QUARANTINE = "quarantine.parquet"
QUARANTINE_SCHEMA = pa.schema(
    [
        ("row_number", pa.int64()),
        ("id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)
_RAW_LIMIT = 2000
# Columns of codes, whose spelling is decided for all rows at once.
_CODES = ("id", "item_group_id")
_PLACES = {name: CATALOG_SCHEMA.names.index(name) for name in _CODES}
_SPILL = "products.spill.arrow"


class CleanReport(BaseModel):
    """What cleaning saw. `rejected` counts rows by reason, `skipped` those that are no products by their kind.

    `dropped` counts, by field and reason, values that could not be read in products that were kept, and `examples`
    tells one of each; `warnings` counts what was changed. `filled` is each field's share of products; `notes` are
    sentences for people.
    """

    rows_read: int = Field(description="Rows of the feed.")
    kept: int = Field(description="Products that were kept.")
    rejected: dict[str, int] = Field(description="Rejected rows, by reason.")
    repeated: int = Field(description="Rows whose id comes again; the last row of an id counts.")
    skipped: dict[str, int] = Field(default={}, description="Rows that are no products, by kind.")
    dropped: dict[str, int] = Field(
        default={}, description="Values that could not be read, by field and reason; their products are kept."
    )
    examples: dict[str, str] = Field(default={}, description="One dropped value for each field and reason.")
    notes: list[str] = Field(default=[], description="Notes for people, such as the encoding that was detected.")
    warnings: dict[str, int] = Field(description="Values that were changed, by reason.")
    filled: dict[str, float] = Field(description="Share of the products that have each field, 0 to 1.")
    unused_columns: list[str] = Field(description="Columns of the feed that no field reads.")
    format: str = Field(description="Format of the feed.")
    encoding: str = Field(description="Encoding of the feed's text.")

    @property
    def rejected_share(self) -> float:
        """Rows rejected of rows read; repeated ids are not rejected."""
        return sum(self.rejected.values()) / self.rows_read if self.rows_read else 0.0


@dataclass(frozen=True, slots=True)
class CleanResult:
    """The catalog's columns (Arrow IPC, `CATALOG_SCHEMA`), the rows left out of it, the mapping used, the counts."""

    columns: Path
    quarantine: Path
    mapping: Mapping
    report: CleanReport

    def summary(self) -> dict[str, Any]:
        """The counts as a JSON value, for the manifest."""
        return self.report.model_dump(mode="json")


def clean_feed(
    path: Path,
    mapping: Mapping,
    workdir: Path,
    report: Report = ignore,
    max_rejected: float = 0.2,
) -> CleanResult:
    """Writes `products.arrow` and `quarantine.parquet` into `workdir`.

    The first pass cleans and spills; where ids repeat among the rows that were taken, a second one drops all but the
    last of each. Without fields in the mapping, columns are found by their names. `report` counts bytes of the file, or
    rows of Parquet. Beyond one batch the memory used is 24 bytes a row, and about 100 while repeats are sought.

    Raises FeedError for a feed or mapping that cannot be used, when nothing is left, and when more than the share
    `max_rejected` was rejected.
    """
    catalog = mapping.catalog
    language = catalog.language if "language" in catalog.model_fields_set else None
    feed = open_feed(path, language, catalog.encoding)
    if feed.format.complete:
        mapping.check(feed.format.columns)
    asked = mapping
    if not asked.fields:
        mapping = default_mapping(feed.format.columns, asked.catalog, asked.attributes, feed.format.export)
    workdir.mkdir(parents=True, exist_ok=True)
    target, spill = workdir / PRODUCTS, workdir / _SPILL
    try:
        with _Quarantine(workdir / QUARANTINE) as quarantine:
            job = _FirstPass(feed, mapping, quarantine)
            with _Columns(spill) as columns:
                job.run(columns, report)
            _check(job, asked, quarantine.path, max_rejected)
            last = _last_of_each(job.digests)
            repeated = int(len(last) - np.count_nonzero(last == np.arange(len(last))))
            surplus = {name: seen.surplus for name, seen in job.spellings.items() if seen.surplus}
            if repeated or surplus:
                with _Columns(target) as columns:
                    _finish(spill, last, job.numbers, surplus, columns, quarantine)
            else:
                spill.replace(target)
    finally:
        spill.unlink(missing_ok=True)
    return CleanResult(target, quarantine.path, mapping, job.report(columns, repeated))


class _FirstPass:
    """Cleans every row; the kept ones go to the spill file, the others to the quarantine."""

    def __init__(self, feed: Feed, mapping: Mapping, quarantine: "_Quarantine") -> None:
        self.feed = feed
        self.rows_read = 0
        self.rejected: Counter[str] = Counter()
        self.digests = bytearray()
        self.numbers = array("q")
        self.spellings = {name: Spelling() for name in _CODES}
        self.skipped: Counter[str] = Counter()
        self.seen: dict[str, None] = dict.fromkeys(feed.format.columns)
        self._cleaner = RowCleaner(mapping)
        self._quarantine = quarantine

    def run(self, columns: "_Columns", report: Report) -> None:
        for batch in self.feed.batches:
            self.rows_read += len(batch.rows) + len(batch.broken) + batch.skipped.total()
            self.skipped += batch.skipped
            for broken in batch.broken:
                self._reject(broken.number, None, broken.reason, broken.detail, broken.raw)
            products = list(self._clean(batch))
            if products:
                columns.add(_record_batch(products))
            report(min(self.feed.position(), self.feed.total), self.feed.total)
        report(self.feed.total, self.feed.total)

    def report(self, columns: "_Columns", repeated: int) -> CleanReport:
        """The counts, once the columns are complete."""
        return CleanReport(
            rows_read=self.rows_read,
            kept=columns.rows,
            rejected=dict(self.rejected.most_common()),
            repeated=repeated,
            skipped=dict(self.skipped.most_common()),
            dropped=dict(self._cleaner.dropped.most_common()),
            examples={name: _encodable(text) for name, text in self._cleaner.examples.items()},
            notes=list(self.feed.format.notes),
            warnings=dict(self._cleaner.warnings.most_common()),
            filled={name: round(count / columns.rows, 4) for name, count in columns.filled.items()},
            unused_columns=[_encodable(name) for name in self.seen if not self._cleaner.reads(name)],
            format=self.feed.format.name,
            encoding=self.feed.format.encoding,
        )

    def _clean(self, batch: Batch) -> Iterator[tuple[Any, ...]]:
        grows, seen, clean = not self.feed.format.complete, self.seen, self._cleaner.clean
        for number, row in zip(batch.numbers, batch.rows, strict=True):
            if grows:
                seen.update(dict.fromkeys(row))
            try:
                product = clean(row)
            except Rejected as error:
                self._reject(number, self._cleaner.name(row), error.reason, error.detail, _json(row))
                continue
            self._note_spelling(product)
            self.digests += hashlib.blake2b(product[0].encode(), digest_size=16).digest()
            self.numbers.append(number)
            yield product

    def _note_spelling(self, product: tuple[Any, ...]) -> None:
        for name, spelling in self.spellings.items():
            if (code := product[_PLACES[name]]) is not None:
                spelling.see(code)

    def _reject(self, number: int, name: str | None, reason: str, detail: str, raw: str) -> None:
        self.rejected[reason] += 1
        self._quarantine.add(number, name, reason, detail, raw)


class _Columns:
    """Writes record batches of `BATCH_ROWS` rows and counts them and the values in each field."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self.filled: Counter[str] = Counter(dict.fromkeys(CATALOG_SCHEMA.names, 0))
        self._writer = pa.ipc.new_file(str(path), CATALOG_SCHEMA)
        self._pending: list[pa.RecordBatch] = []
        self._waiting = 0

    def __enter__(self) -> "_Columns":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._write(all_of_it=True)
        self._writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        self.rows += batch.num_rows
        for name, column in zip(CATALOG_SCHEMA.names, batch.columns, strict=True):
            self.filled[name] += batch.num_rows - column.null_count
        self._pending.append(batch)
        self._waiting += batch.num_rows
        if self._waiting >= BATCH_ROWS:
            self._write()

    def _write(self, all_of_it: bool = False) -> None:
        table = pa.Table.from_batches(self._pending, CATALOG_SCHEMA).combine_chunks()
        whole = len(table) if all_of_it else len(table) - len(table) % BATCH_ROWS
        self._writer.write_table(table.slice(0, whole), BATCH_ROWS)
        self._pending = table.slice(whole).to_batches()
        self._waiting = len(table) - whole


class _Quarantine:
    """The Parquet file of rows that are not in the catalog. Written batch by batch, whole after any error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = pq.ParquetWriter(path, QUARANTINE_SCHEMA)
        self._rows: list[tuple[int, str | None, str, str, str]] = []

    def __enter__(self) -> "_Quarantine":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, number: int, name: str | None, reason: str, detail: str, raw: str) -> None:
        """Appends one row; its text is cut."""
        self._rows.append((number, name, reason, _encodable(detail), _encodable(raw[:_RAW_LIMIT])))
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            names = QUARANTINE_SCHEMA.names
            arrays = [pa.array(c, QUARANTINE_SCHEMA.types[i]) for i, c in enumerate(zip(*self._rows, strict=True))]
            self._writer.write_batch(pa.record_batch(arrays, names))
            self._rows = []


def _check(job: _FirstPass, mapping: Mapping, quarantine: Path, max_rejected: float) -> None:
    """Raises FeedError for a feed that publishes nothing. `mapping` is the one that was asked for."""
    path, rejected = job.feed.path, sum(job.rejected.values())
    if not job.rows_read:
        raise FeedError(f"{path}: holds no rows")
    if not job.feed.format.complete:
        mapping.check(job.seen)
    reasons = ", ".join(f"{name} {count:,}" for name, count in job.rejected.most_common(4))
    if not job.numbers:
        raise FeedError(f"{path}: none of its {job.rows_read:,} rows is a product ({reasons}); see {quarantine}")
    if rejected > max_rejected * job.rows_read:
        raise FeedError(
            f"{path}: {rejected:,} of {job.rows_read:,} rows ({rejected / job.rows_read:.1%}) were rejected, more than "
            f"the {max_rejected:.0%} allowed ({reasons}); see {quarantine}"
        )


def _last_of_each(digests: bytearray) -> np.ndarray:
    """For each 16-byte digest the last place of the same one; shape (n,), int64."""
    halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal digests stay in the order of their places
    ends = np.ones(len(order), bool)
    ends[:-1] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    last = np.empty(len(order), np.int64)
    last[order] = order[ends][np.cumsum(ends) - ends]
    return last


def _finish(
    spill: Path,
    last: np.ndarray,
    numbers: "array[int]",
    surplus: dict[str, str],
    columns: _Columns,
    quarantine: _Quarantine,
) -> None:
    """Copies the last product of each id from the spill file; the earlier ones go to the quarantine as cleaned.

    Codes lose what matches the expression that `surplus` has for their column.
    """
    with pa.memory_map(str(spill)) as source:
        reader, start = pa.ipc.open_file(source), 0
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            for name, pattern in surplus.items():
                place = _PLACES[name]
                plain = pc.replace_substring_regex(batch.column(place), pattern, "")
                batch = batch.set_column(place, CATALOG_SCHEMA.field(place), plain)
            places = np.arange(start, start + batch.num_rows)
            keeps = last[places] == places
            columns.add(batch.filter(pa.array(keeps)))
            for offset in np.flatnonzero(~keeps):
                row = batch.slice(int(offset), 1).to_pylist()[0]
                detail = f"row {numbers[int(last[start + offset])]} has the same id and comes later"
                quarantine.add(numbers[int(start + offset)], row["id"], "repeated_id", detail, _json(row))
            start += batch.num_rows


def _record_batch(products: list[tuple[Any, ...]]) -> pa.RecordBatch:
    arrays = [pa.array(c, CATALOG_SCHEMA.types[i]) for i, c in enumerate(zip(*products, strict=True))]
    return pa.RecordBatch.from_arrays(arrays, schema=CATALOG_SCHEMA)


def _json(row: dict[str, Any]) -> str:
    """A row without its empty values, as JSON; long texts are cut, since only the beginning of all is kept."""
    short = {k: v[:_RAW_LIMIT] if isinstance(v, str) else v for k, v in row.items() if v is not None and v != ""}
    return json.dumps(short, ensure_ascii=False, default=str)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
