"""Makes the catalog's columns of a feed: mapped, cleaned, without repeats, in the feed's order."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from catalog.product import CATALOG_SCHEMA
from core.errors import FeedError
from core.progress import Report, ignore
from indexer.cleaning.codes import CodeSpelling
from indexer.cleaning.mapping import VERSION, FeedMapping, default_mapping
from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.row import RowCleaner
from indexer.feed.batch import Batch
from indexer.feed.read import Feed, open_feed
from indexer.product_files import ColumnsWriter, QuarantineWriter, encodable, make_batch, row_json

PRODUCTS = "products.arrow"
QUARANTINE = "quarantine.parquet"
# Columns of codes, whose spelling is decided for all rows at once.
_CODES = ("id", "item_group_id")
_CODE_COLUMNS = {name: CATALOG_SCHEMA.names.index(name) for name in _CODES}
_SPILL = "products.spill.arrow"


class CleanReport(BaseModel):
    """The counts of a cleaning: `rejected` rows by reason, `skipped` ones, which are no products, by kind.

    `dropped` counts, by field and reason, values that could not be read in products that were kept, and `examples`
    has one of each; `warnings` counts what was changed. `filled` is each field's share of products; `notes` are
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
    """The catalog's columns (Arrow IPC, `CATALOG_SCHEMA`), the rows left out of it, the mapping used, the counts; and
    the version of each product, 0 where it has none, shape (n,), where the mapping names a column of versions."""

    columns: Path
    quarantine: Path
    mapping: FeedMapping
    report: CleanReport
    versions: NDArray[np.int64] | None = None

    def summary(self) -> dict[str, Any]:
        """The counts as a JSON value, for the manifest."""
        return self.report.model_dump(mode="json")


def clean_feed(
    path: Path,
    mapping: FeedMapping,
    workdir: Path,
    report: Report = ignore,
    max_rejected: float = 0.2,
) -> CleanResult:
    """Writes `products.arrow` and `quarantine.parquet` into `workdir`.

    The first pass cleans and spills; where ids repeat among its products, a second one drops all but the last of each.
    Without fields in the mapping, columns are matched by their names. `report` counts bytes of the file, or
    rows of Parquet. Beyond one batch the memory used is 24 bytes a row, and about 100 while repeats are sought.

    Raises FeedError for a feed or mapping that cannot be used, when nothing is left, and when more than the share
    `max_rejected` was rejected.
    """
    catalog = mapping.catalog
    language = catalog.language if "language" in catalog.model_fields_set else None
    with open_feed(path, language, catalog.encoding) as feed:
        if feed.format.complete:
            mapping.check(feed.format.columns)
        resolved = mapping
        if not mapping.fields:
            resolved = default_mapping(feed.format.columns, catalog, mapping.attributes, feed.format.export)
        workdir.mkdir(parents=True, exist_ok=True)
        target, spill = workdir / PRODUCTS, workdir / _SPILL
        try:
            with QuarantineWriter(workdir / QUARANTINE) as quarantine:
                rows = _RowPass(feed, resolved, quarantine)
                with ColumnsWriter(spill) as columns:
                    rows.run(columns, report)
                _check(rows, mapping, quarantine.path, max_rejected)
                last = _last_of_each(rows.digests)
                repeated = int(len(last) - np.count_nonzero(last == np.arange(len(last))))
                surplus = {name: codes.surplus for name, codes in rows.spellings.items() if codes.surplus}
                if repeated or surplus:
                    with ColumnsWriter(target) as columns:
                        _drop_repeats(spill, last, rows.numbers, surplus, columns, quarantine)
                else:
                    spill.replace(target)
                versions = np.array(rows.versions, np.int64)[last == np.arange(len(last))] if rows.versions else None
        finally:
            spill.unlink(missing_ok=True)
    return CleanResult(target, quarantine.path, resolved, rows.report(columns, repeated), versions)


class _RowPass:
    """Cleans every row; products go to the spill file, other rows to the quarantine."""

    def __init__(self, feed: Feed, mapping: FeedMapping, quarantine: "QuarantineWriter") -> None:
        self.feed = feed
        self.rows_read = 0
        self.rejected: Counter[str] = Counter()
        self.digests = bytearray()
        self.numbers = array("q")
        self.versions = array("q")  # where the feed has any
        self.spellings = {name: CodeSpelling() for name in _CODES}
        self.skipped: Counter[str] = Counter()
        self.columns: dict[str, None] = dict.fromkeys(feed.format.columns)
        self._cleaner = RowCleaner(mapping)
        self._versioned = VERSION in mapping.fields
        self._quarantine = quarantine

    def run(self, columns: "ColumnsWriter", report: Report) -> None:
        for batch in self.feed.batches:
            self.rows_read += len(batch.rows) + len(batch.broken) + batch.skipped.total()
            self.skipped += batch.skipped
            for broken in batch.broken:
                self._reject(broken.number, None, broken.reason, broken.detail, broken.raw)
            products = list(self._clean(batch))
            if products:
                columns.add(make_batch(products))
            report(min(self.feed.position(), self.feed.total), self.feed.total)
        report(self.feed.total, self.feed.total)

    def report(self, columns: "ColumnsWriter", repeated: int) -> CleanReport:
        """The counts, once the columns are complete."""
        return CleanReport(
            rows_read=self.rows_read,
            kept=columns.rows,
            rejected=dict(self.rejected.most_common()),
            repeated=repeated,
            skipped=dict(self.skipped.most_common()),
            dropped=dict(self._cleaner.dropped.most_common()),
            examples={name: encodable(text) for name, text in self._cleaner.examples.items()},
            notes=list(self.feed.format.notes),
            warnings=dict(self._cleaner.warnings.most_common()),
            filled={name: round(count / columns.rows, 4) for name, count in columns.filled.items()},
            unused_columns=[encodable(name) for name in self.columns if not self._cleaner.reads(name)],
            format=self.feed.format.name,
            encoding=self.feed.format.encoding,
        )

    def _clean(self, batch: Batch) -> Iterator[tuple[Any, ...]]:
        incomplete, columns, clean = not self.feed.format.complete, self.columns, self._cleaner.clean
        for number, row in zip(batch.numbers, batch.rows, strict=True):
            if incomplete:
                columns.update(dict.fromkeys(row))
            try:
                product = clean(row)
            except InvalidValue as error:
                self._reject(number, self._cleaner.name(row), error.reason, error.detail, row_json(row))
                continue
            self._add_codes(product)
            self.digests += hashlib.blake2b(product[0].encode(), digest_size=16).digest()
            self.numbers.append(number)
            if self._versioned:
                self.versions.append(self._cleaner.version(row))
            yield product

    def _add_codes(self, product: tuple[Any, ...]) -> None:
        for name, spelling in self.spellings.items():
            if (code := product[_CODE_COLUMNS[name]]) is not None:
                spelling.add(code)

    def _reject(self, number: int, name: str | None, reason: str, detail: str, raw: str) -> None:
        self.rejected[reason] += 1
        self._quarantine.add(number, name, reason, detail, raw)


def _check(rows: _RowPass, mapping: FeedMapping, quarantine: Path, max_rejected: float) -> None:
    """Raises FeedError for a feed of which nothing is published. `mapping` is the user's."""
    path, read, rejected = rows.feed.path, rows.rows_read, sum(rows.rejected.values())
    if not read:
        raise FeedError(f"{path}: holds no rows")
    if not rows.feed.format.complete:
        mapping.check(rows.columns)
    reasons = ", ".join(f"{name} {count:,}" for name, count in rows.rejected.most_common(4))
    if not rows.numbers:
        raise FeedError(f"{path}: none of its {read:,} rows is a product ({reasons}); see {quarantine}")
    if rejected > max_rejected * read:
        raise FeedError(
            f"{path}: {rejected:,} of {read:,} rows ({rejected / read:.1%}) were rejected, more than "
            f"the {max_rejected:.0%} allowed ({reasons}); see {quarantine}"
        )


def _last_of_each(digests: bytearray) -> np.ndarray:
    """For each 16-byte digest, the place of the last equal one; shape (n,), int64."""
    halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal digests stay in the order of their places
    ends = np.ones(len(order), bool)
    ends[:-1] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    last = np.empty(len(order), np.int64)
    last[order] = order[ends][np.cumsum(ends) - ends]
    return last


def _drop_repeats(
    spill: Path,
    last: np.ndarray,
    numbers: "array[int]",
    surplus: dict[str, str],
    columns: ColumnsWriter,
    quarantine: QuarantineWriter,
) -> None:
    """Copies the last product of each id from the spill file; the earlier ones go to the quarantine as cleaned.

    Codes lose what matches the expression that `surplus` has for their column.
    """
    with pa.memory_map(str(spill)) as source:
        reader, start = pa.ipc.open_file(source), 0
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            for name, pattern in surplus.items():
                place = _CODE_COLUMNS[name]
                plain = pc.replace_substring_regex(batch.column(place), pattern, "")
                batch = batch.set_column(place, CATALOG_SCHEMA.field(place), plain)
            places = np.arange(start, start + batch.num_rows)
            keeps = last[places] == places
            columns.add(batch.filter(pa.array(keeps)))
            for offset in np.flatnonzero(~keeps):
                row = batch.slice(int(offset), 1).to_pylist()[0]
                detail = f"row {numbers[int(last[start + offset])]} has the same id and comes later"
                quarantine.add(numbers[int(start + offset)], row["id"], "repeated_id", detail, row_json(row))
            start += batch.num_rows
