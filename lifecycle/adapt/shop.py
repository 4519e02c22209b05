"""Reads a shop without judgments: its feed, cleaned as for indexing, and its query log, if there is one."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.product import CATALOG_SCHEMA, product_text
from catalog.table import ProductTable
from core.digest import file_digest, value_digest
from core.errors import FeedError
from core.progress import Steps
from indexer.cleaning.mapping import FeedMapping
from indexer.products import clean_feed
from indexer.queries import read_queries
from lifecycle.feeds import read_mapping


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """The files of a shop without judgments; `queries` is a log, see `read_queries`."""

    catalog: Path
    mapping: Path | None = None
    queries: Path | None = None

    def check(self) -> None:
        """Raises FeedError for a file that is missing."""
        if not self.catalog.is_file():
            raise FeedError(f"{self.catalog}: no such file; give the shop's feed as --catalog")
        if self.queries is not None and not self.queries.is_file():
            raise FeedError(f"{self.queries}: no such file; give past queries, one a line, or leave --queries out")

    def digests(self, mapping: FeedMapping) -> dict[str, str]:
        """A digest of each input."""
        digests = {"catalog": file_digest(self.catalog), "mapping": value_digest(mapping.model_dump(mode="json"))}
        return digests | ({"queries": file_digest(self.queries)} if self.queries else {})


@dataclass(frozen=True)
class UnjudgedShop:
    """n products by row, an even sample where the catalog has more, and how often each query stands in the log."""

    mapping: FeedMapping
    catalog: pa.Table
    products: int
    log: Mapping[str, int] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """The catalog's (BCP 47)."""
        return self.mapping.catalog.language

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The products with all their columns."""
        return [row for batch in self.catalog.to_batches() for row in batch.to_pylist()]

    @cached_property
    def texts(self) -> list[str]:
        """The text of each product that the towers read."""
        return [product_text(row) for row in self.rows]

    def sample(self, most: int) -> "UnjudgedShop":
        """The shop with at most so many of its products, evenly taken."""
        if most >= len(self.catalog):
            return self
        places = np.linspace(0, len(self.catalog) - 1, most).round().astype(np.int64)
        return replace(self, catalog=self.catalog.take(pa.array(places)).combine_chunks())

    def write(self, path: Path) -> ProductTable:
        """The products as a file of columns, such as a release has."""
        with pa.ipc.new_file(str(path), CATALOG_SCHEMA) as writer:
            writer.write_table(self.catalog)
        return ProductTable(path)


def read_shop(files: ShopFiles, most: int, steps: Steps) -> UnjudgedShop:
    """At most so many products, and the log. Raises FeedError for files that are missing or cannot be used."""
    log = read_queries(files.queries) if files.queries else {}
    mapping = read_mapping(files.mapping)
    with tempfile.TemporaryDirectory(prefix="tandem-adapt-") as work, steps.step("read the catalog") as report:
        table = ProductTable(clean_feed(files.catalog, mapping, Path(work), report).columns)
        whole = pa.Table.from_batches(list(table.batches()), CATALOG_SCHEMA)
        # Copied: the file that the table maps goes with the folder.
        copied = whole.take(pa.array(np.arange(len(whole))))
    return UnjudgedShop(mapping, copied, len(whole), log).sample(most)
