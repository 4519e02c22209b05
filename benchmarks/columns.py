"""Typed columns of a large shop: seconds to make them, bytes for a million products, and milliseconds a mask.

    python -m benchmarks.columns [--products 1000000] [--table NAME=products.arrow ...]

The sample shop is made and cleaned; further product tables, such as those of releases, are measured beside it. Masks
are made anew each time; a mask that is kept costs its digest alone.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import latencies, save
from catalog.column_file import TYPED_COLUMNS_FILE, open_columns
from catalog.columns import Columns, Kind
from catalog.masks import MaskCache, evaluate
from catalog.table import ProductTable
from core.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Range
from core.progress import ignore
from indexer.cleaning.mapping import load_mapping
from indexer.columns import ColumnSettings, write_columns
from indexer.products import clean_feed
from lifecycle.sample.shop import CATALOG, MAPPING, write_sample

_ROUNDS = 30
_MILLION = 1_000_000


def main() -> None:
    """Measures each table, prints the figures and saves them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=_MILLION)
    parser.add_argument("--table", action="append", default=[], metavar="NAME=FILE", help="another product table")
    parser.add_argument("--name", default="columns", help="of the results file")
    options = parser.parse_args()
    results = {}
    with TemporaryDirectory() as folder:
        write_sample(Path(folder), options.products)
        mapping = load_mapping(Path(folder) / MAPPING)
        cleaned = clean_feed(Path(folder) / CATALOG, mapping, Path(folder) / "work")
        tables = {"sample": cleaned.columns} | {
            name: Path(path) for name, path in (t.split("=") for t in options.table)
        }
        for name, path in tables.items():
            results[name] = measure(ProductTable(path), Path(folder) / TYPED_COLUMNS_FILE)
            print(name, results[name])
    print(save(options.name, {"products": options.products, "rounds": _ROUNDS}, results))


def measure(table: ProductTable, path: Path) -> dict[str, Any]:
    """What the columns of a table cost, and the masks of conditions on them."""
    start = time.perf_counter()
    report = write_columns(table, ColumnSettings("en", None), path, ignore)
    seconds = time.perf_counter() - start
    opening = time.perf_counter()
    columns = open_columns(path)
    opened = time.perf_counter() - opening
    per_million = _MILLION / len(table)
    return {
        "columns": {
            "products": len(table),
            "columns": len(columns.names),
            "seconds": round(seconds, 2),
            "bytes": report.bytes,
            "megabytes_per_million_products": round(report.bytes * per_million / 1e6),
            "open_ms": round(opened * 1000, 1),
        },
        "masks": {name: _time(filter, columns) for name, filter in _filters(columns)},
    }


def _time(filter: Filter, columns: Columns) -> dict[str, float]:
    seconds, mask = [], evaluate(filter, columns)
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        MaskCache().fetch(filter, lambda one: evaluate(one, columns))
        seconds.append(time.perf_counter() - start)
    return {"selectivity": round(float(mask.mean()), 4)} | latencies(seconds)


def _filters(columns: Columns) -> Iterator[tuple[str, Filter]]:
    """Conditions on the columns that most products have."""
    kinds: dict[Kind, list[str]] = {}
    for name in columns.names:
        if name not in ("id", "title") and columns.column(name).exists().mean() > 0.2:
            kinds.setdefault(columns.column(name).kind, []).append(name)
    single: list[Filter] = []
    for kind in (Kind.string, Kind.strings):
        for name in kinds.get(kind, [])[:1]:
            common = _common(columns, name)
            single.append(Equal(name, common[0]))
            yield f"{kind}: one value", single[-1]
            yield f"{kind}: one of {len(common)} values", OneOf(name, tuple(common))
    for kind in (Kind.number, Kind.money):
        for name in kinds.get(kind, [])[:1]:
            low, high = np.nanquantile(columns.column(name).numbers, [0.25, 0.75]) / (1e6 if kind is Kind.money else 1)
            single.append(Range(name, at_least=float(low), at_most=float(high)))
            yield f"{kind}: the middle half", single[-1]
    yield "exists", Exists(columns.names[2])
    yield "not", Not(single[0])
    yield f"and of {len(single)}", And(tuple(single))
    yield "or of 256", Or((single[0],) * 256)


def _common(columns: Columns, name: str) -> list[str]:
    column = columns.column(name)
    counts = np.bincount(column.codes[column.codes >= 0])
    return [column.values[code] for code in np.argsort(-counts)[:10].tolist()]


if __name__ == "__main__":
    main()
