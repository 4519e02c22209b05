"""The first stages of a training: the files are read, and their judgments become examples."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.table import ProductTable
from core.errors import FeedError
from core.progress import Steps
from evaluation.judgments import load_judgments
from indexer.cleaning.mapping import FeedMapping
from indexer.products import clean_feed
from lifecycle.examples.mining import Mining
from lifecycle.examples.products import Products
from lifecycle.feeds import read_mapping
from training.examples import Examples


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files to learn from. `towers` is the folder of those whose similarity a ranker is to build on.

    With `mining`, hard negatives too, out of what BM25 and the towers retrieve: those, or the ones that a training
    starts from. `teacher` is the folder of a cross-encoder: towers learn its logits, a ranker its probabilities of
    mined negatives, of which those that it finds relevant are left out.
    """

    catalog: Path
    mapping: Path | None
    judgments: Path
    towers: Path | None = None
    mining: Mining | None = None
    teacher: Path | None = None


@dataclass(frozen=True)
class TrainingData:
    """The content of the files; judgments are those of products that the catalog holds."""

    mapping: FeedMapping
    products: Products
    judgments: pa.Table

    @cached_property
    def texts(self) -> dict[str, str]:
        """Product texts by id."""
        return dict(zip(self.products.ids, self.products.texts, strict=True))


def read_data(inputs: Inputs, steps: Steps) -> TrainingData:
    """Reads the catalog, through the same cleaning as indexing, and the judgments. Raises FeedError."""
    table = load_judgments(inputs.judgments, to_learn=True)
    mapping = read_mapping(inputs.mapping)
    with tempfile.TemporaryDirectory(prefix="tandem-train-") as work, steps.step("read the catalog") as report:
        columns = ProductTable(clean_feed(inputs.catalog, mapping, Path(work), report).columns)
        catalog = pa.Table.from_batches(list(columns.batches()))
        products = Products.from_catalog(catalog, mapping.catalog.language)
    return TrainingData(mapping, products, known_judgments(table, products.ids, inputs.judgments))


def make_examples(data: TrainingData) -> Examples:
    """The judged queries to learn from and to validate on. Raises ModelError when a split has none."""
    return Examples.split(data.texts, data.judgments, data.mapping.catalog.language)


def known_judgments(table: pa.Table, texts: Collection[str], judgments: Path) -> pa.Table:
    """The judgments of products that the catalog holds; at least half of them must be."""
    known = table.filter(pc.is_in(table["product_id"], pa.array(list(texts), pa.string())))
    if len(known) * 2 < len(table):
        raise FeedError(
            f"{judgments}: {len(table) - len(known):,} of {len(table):,} judgments name products that the catalog does "
            "not hold; check that both use the same product ids"
        )
    for split in ("train", "valid"):
        if not pc.any(pc.equal(known["split"], split)).as_py():
            raise FeedError(f"{judgments}: no judgments of split {split}; a model needs train and valid")
    return known
