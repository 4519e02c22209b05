"""What a release keeps of changes: the versions of its products, deleted ones too, and the answers to late requests.

`versions.arrow`: product ids in the order of their UTF-8, each with its version, the version it had right behind the
feed, and, where changes were folded into it, whether it was in the feed. Others without a version are not listed.
`requests.arrow`: request ids, the revisions of their entries, and the outcomes of their changes.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from catalog.arrow_file import first_line, open_batches
from catalog.versions import Answer, ChangeRules, Outcome
from core.errors import ReleaseError

VERSIONS_FILE, REQUESTS_FILE = "versions.arrow", "requests.arrow"
VERSIONS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("version_at_cut", pa.int64(), nullable=False),
        pa.field("in_feed", pa.bool_()),
    ]
)
REQUESTS_SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("outcomes", pa.binary(), nullable=False),
    ]
)


class VersionFile:
    """The versions of a release, memory-mapped: a lookup reads some twenty ids."""

    def __init__(self, path: Path) -> None:
        """Raises ReleaseError for a file that is none."""
        self.table = _read(path, VERSIONS_SCHEMA)
        columns = [self.table.column(name).combine_chunks() for name in VERSIONS_SCHEMA.names]
        self._ids, self._in_feed = columns[0], columns[3]
        self._version, self._at_cut = (column.to_numpy() for column in columns[1:3])

    def __len__(self) -> int:
        return len(self._version)

    def version(self, product_id: str) -> int:
        """The product's version; 0 where it has none."""
        place = self._find(product_id)
        return int(self._version[place]) if place >= 0 else 0

    def version_at_cut(self, product_id: str) -> int:
        """The version right behind the feed, before later changes were folded in."""
        place = self._find(product_id)
        return int(self._at_cut[place]) if place >= 0 else 0

    def in_feed(self, product_id: str) -> bool | None:
        """Whether the product was in the feed; None where the release's products tell, since it was not changed."""
        place = self._find(product_id)
        return self._in_feed[place].as_py() if place >= 0 else None

    def _find(self, product_id: str) -> int:
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._ids[middle].as_py() < product_id:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._ids[low].as_py() == product_id else -1


def write_versions(path: Path, table: pa.Table) -> None:
    """Writes versions, in any order, each id once; columns as `VERSIONS_SCHEMA` names them."""
    table = table.select(VERSIONS_SCHEMA.names).cast(VERSIONS_SCHEMA).sort_by("id").combine_chunks()
    with pa.ipc.new_file(str(path), VERSIONS_SCHEMA) as writer:
        writer.write_table(table)


def write_requests(path: Path, answers: Iterable[tuple[str, Answer]]) -> None:
    """Writes answers in the order of their revisions."""
    rows = list(answers)
    columns = [
        [name for name, _ in rows],
        [answer.revision for _, answer in rows],
        [bytes(answer.outcomes) for _, answer in rows],
    ]
    with pa.ipc.new_file(str(path), REQUESTS_SCHEMA) as writer:
        writer.write_table(pa.Table.from_arrays([*map(pa.array, columns)], schema=REQUESTS_SCHEMA))


def read_requests(path: Path) -> list[tuple[str, Answer]]:
    """The answers of the file. Raises ReleaseError for a file that is none."""
    table = _read(path, REQUESTS_SCHEMA)
    columns = (table.column(name).to_pylist() for name in REQUESTS_SCHEMA.names)
    return [(name, Answer(revision, tuple(map(Outcome, data)))) for name, revision, data in zip(*columns, strict=True)]


def open_rules(folder: Path) -> ChangeRules:
    """The rules by which changes are applied over the release in this folder. Raises ReleaseError."""
    versions, requests = folder / VERSIONS_FILE, folder / REQUESTS_FILE
    rules = ChangeRules(VersionFile(versions).version) if versions.is_file() else ChangeRules()
    if requests.is_file():
        rules.answers.update(read_requests(requests))
    return rules


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        own, batches = open_batches(path)
        table = pa.Table.from_batches(batches, own)
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read: {first_line(error)}") from None
    if not table.schema.equals(schema):
        raise ReleaseError(f"{path} has other columns than this version knows: run `tandem index` again")
    return table
