"""A part of a catalog, for who measures on many shops and has no time for whole ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.table import ProductTable
from indexer.product_files import ColumnsWriter


@dataclass(frozen=True, slots=True)
class CatalogSample:
    """So many products of a catalog, drawn, those of `ids` before others; more where there are more of these."""

    products: int
    ids: frozenset[str] = frozenset()
    seed: int = 0


def keep_sample(columns: Path, sample: CatalogSample) -> None:
    """Rewrites the file of a catalog's columns with the sampled products alone, in their order."""
    table = ProductTable(columns)
    if len(table) <= sample.products:
        return
    wanted = np.array([name in sample.ids for name in table.ids()])
    drawn = np.random.default_rng(sample.seed).permutation(np.flatnonzero(~wanted))
    rest = max(0, sample.products - int(np.count_nonzero(wanted)))
    wanted[drawn[:rest]] = True
    part = columns.with_name(f".{columns.name}.part")
    start = 0
    with ColumnsWriter(part) as writer:
        for batch in table.batches():
            writer.add(batch.filter(pa.array(wanted[start : start + batch.num_rows])))
            start += batch.num_rows
    part.replace(columns)
