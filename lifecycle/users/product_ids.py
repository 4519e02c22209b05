"""Matches the product ids of events with those of a catalog."""

from collections.abc import Sequence

import pyarrow as pa


class ProductIds:
    """Rows of a catalog by id. An id without its leading zeros, as spreadsheets and parsers of numbers leave it, is
    matched too where just one product could be meant."""

    def __init__(self, ids: Sequence[str] | pa.Array) -> None:
        texts = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
        self._rows = {text: row for row, text in enumerate(texts)}
        self._short: dict[str, int] = {}
        for text, row in self._rows.items():
            short = text.lstrip("0")
            self._short[short] = -1 if short in self._short else row

    def find(self, text: str) -> tuple[int, bool]:
        """The row, -1 where there is none, and whether it is by another spelling."""
        row = self._rows.get(text)
        if row is not None:
            return row, False
        row = self._short.get(text.lstrip("0"), -1)
        return row, row >= 0
