"""Writes a sample shop: a feed, its mapping, and graded judgments of queries."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import FeedError
from lifecycle.sample.judgments import Pool, SampleCatalog, judge_query
from lifecycle.sample.products import SampleProduct, iter_products
from lifecycle.sample.queries import Query, make_queries
from lifecycle.sample.vocabulary import HOME, Vocabulary

CATALOG, MAPPING, JUDGMENTS = "catalog.jsonl.gz", "mapping.toml", "judgments.parquet"
QUERIES = {"train": 580, "valid": 160, "test": 280}
# Of the test queries, those that `tandem run` shows: one of each kind of difficulty.
EXAMPLE_QUERIES = (
    "take my computer to meetings",
    "headphones under 50",
    "silence the crying baby on my flight",
    "coffee machine anything but metal",
    "bone cihna mug 250ml",
)

# Training needs contrast; validation and test are judged nearly whole, so that what they find is known.
POOLS = {"train": Pool(12, 8, 6, 6, 4), "valid": Pool(40, 20, 10, 20, 10), "test": Pool(40, 20, 10, 20, 10)}

_QUERIED = 100_000  # products from which queries are made and judged; the rest of a larger shop is scenery
_TYPES = {"query": pa.string(), "product_id": pa.string(), "grade": pa.float64(), "split": pa.string()}
_SCHEMA = pa.schema(_TYPES | {"template": pa.string()})
_COLUMNS = (
    "title", "description", "brand", "product_type", "price", "availability", "color", "size", "material", "gtin",
    "item_group_id", "image_link", "link",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SampleReport:
    """Where the files lie and what is in them. `queries` counts by split."""

    catalog: Path
    mapping: Path
    judgments: Path
    products: int
    types: int
    queries: dict[str, int]
    judged: int

    def line(self) -> str:
        """All of it in one line."""
        splits = ", ".join(f"{count:,} {split}" for split, count in self.queries.items())
        return (
            f"sample shop: {self.products:,} products of {self.types:,} types, {sum(self.queries.values()):,} queries "
            f"({splits}), {self.judged:,} judgments in {self.catalog.parent}"
        )


def write_sample(folder: Path, products: int = 3000, seed: int = 7, world: str = HOME) -> SampleReport:
    """Writes feed, mapping and judgments of a world into `folder`, the same bytes for the same count and seed.

    Raises FeedError for fewer than 1,000 products, from which too few queries could be made.
    """
    if products < 1000:
        raise FeedError(f"a sample shop of {products} products is too small: ask for 1000 or more")
    folder.mkdir(parents=True, exist_ok=True)
    write_catalog(folder / CATALOG, iter_products(products, seed, world))
    catalog = SampleCatalog(iter_products(min(products, _QUERIED), seed, world))
    (folder / MAPPING).write_text(_mapping(catalog.vocabulary), encoding="utf-8")
    queries = make_queries(catalog, QUERIES, seed)
    table = judgment_table(catalog, queries, seed)
    pq.write_table(table, folder / JUDGMENTS, compression="zstd")
    return SampleReport(
        catalog=folder / CATALOG,
        mapping=folder / MAPPING,
        judgments=folder / JUDGMENTS,
        products=products,
        types=len(catalog.by_type),
        queries=dict(Counter(query.split for query in queries)),
        judged=table.num_rows,
    )


def write_catalog(path: Path, products: Iterable[SampleProduct]) -> None:
    """Writes products as gzipped JSON lines, without a time in the gzip header."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=5, mtime=0) as out:
        for product in products:
            out.write(json.dumps(product.row(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def judgment_table(catalog: SampleCatalog, queries: Iterable[Query], seed: int) -> pa.Table:
    """One row per judged pair: query, product_id, grade 0 to 3, split, template."""
    rng, rows = Random(seed + 2), []
    for query in queries:
        for row, grade in judge_query(catalog, query.intent, query.text, POOLS[query.split], rng):
            rows.append((query.text, catalog.products[row].id, float(grade), query.split, query.template))
    return pa.Table.from_arrays([pa.array(column) for column in zip(*rows, strict=True)], schema=_SCHEMA)


def _mapping(voc: Vocabulary) -> str:
    absent = set() if voc.materials else {"material"}  # a shop of food and books names none
    catalog = "\n".join(f'{name} = "{value}"' for name, value in voc.world.catalog.items())
    fields = "\n".join(f'{name} = "{name}"' for name in ("id", *_COLUMNS) if name not in absent)
    return (
        "# How the sample shop's feed fills the fields of a product.\n"
        f"[catalog]\n{catalog}\n\n"
        f'[fields]\n{fields}\n\n[attributes]\ninclude = ["attr_*"]\nstrip_prefix = "attr_"\n'
    )
