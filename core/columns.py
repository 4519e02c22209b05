"""Reads the catalog's columns from its Arrow file, memory-mapped."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import ReleaseError
from core.product import CATALOG_SCHEMA


class Columns:
    """Random access to the products of a snapshot by row, without reading the file whole."""

    def __init__(self, path: Path) -> None:
        """Raises ReleaseError when the file is not a catalog's columns."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (OSError, pa.ArrowInvalid) as error:
            raise ReleaseError(f"{path} is not a catalog's columns: {str(error).splitlines()[0]}") from None
        if not reader.schema.equals(CATALOG_SCHEMA):
            raise ReleaseError(f"{path} has other columns than this version reads; index the catalog again")
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The record batches in row order."""
        return iter(self._batches)

    def row(self, row: int, fields: Sequence[str] = CATALOG_SCHEMA.names) -> dict[str, Any]:
        """The named fields of one product as Python values; `attributes` as a list of pairs, or None."""
        batch, offset = self._locate(row)
        return {name: batch.column(name)[offset].as_py() for name in fields}

    def id(self, row: int) -> str:
        """The product's id."""
        batch, offset = self._locate(row)
        return str(batch.column("id")[offset])

    def ids(self) -> list[str]:
        """Every product's id in row order."""
        return [value for batch in self._batches for value in batch.column("id").to_pylist()]

    def _locate(self, row: int) -> tuple[pa.RecordBatch, int]:
        place = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._batches[place], row - int(self._starts[place])
