"""Shops and their queries for benchmarks of what models are worth in a shop that they have not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import TandemError
from core.progress import Steps
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from lifecycle.examples.pseudo import PseudoQuerySettings, attribute_queries, pseudo_queries
from lifecycle.feeds import read_mapping
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from lifecycle.recipes.builtin import general
from lifecycle.recipes.sets import mapping_file
from lifecycle.sample.shop import write_sample
from lifecycle.sample.vocabulary import WORLDS
from retrieval.release.loaded import LoadedRelease

# Each a source of recipe `general`, or a world of the sample shop, and its queries: a split of its judgments, `all` of
# them, or two kinds made up for shops without judgments: `items`, words of titles and model numbers, for each of which
# the one product that they were made of is good; and `attributes`, such as a colour and a product type, for which all
# products that have both are.
SETS = (
    *("home_depot:test", "crowdflower:all", "icecat:items", "icecat:attributes", "hm:items", "hm:attributes"),
    *(f"{world}:test" for world in WORLDS),
)


@dataclass(frozen=True)
class UnseenShop:
    """A shop's files and the kind of queries that a set takes of it."""

    name: str
    kind: str
    catalog: Path
    mapping: Path | None
    judgments: Path | None

    def open(self, store: ReleaseStore, models: ModelFolders, steps: Steps) -> LoadedRelease:
        """Indexes the shop under the models, unless that is done, and opens the release."""
        mapping = read_mapping(self.mapping, None if self.name in WORLDS else self.name)
        outcome = index_feed(self.catalog, mapping, models, IndexOptions(), store, steps)
        return open_place(find_release(store, outcome.manifest.catalog, CURRENT))

    def queries(self, release: LoadedRelease, most: int) -> dict[str, dict[str, float]]:
        """At most so many queries, drawn at random, and the grades of their products.

        The product "" has the lowest grade and stands for all that are not named.
        """
        if self.kind in ("items", "attributes"):
            table = pa.Table.from_batches(list(release.columns.batches()))
            return _some(_items(table) if self.kind == "items" else _graded(attribute_queries(table)), most)
        if self.judgments is None:
            raise TandemError(f"{self.name} has no judgments; name {self.name}:items or {self.name}:attributes")
        return _some(select_grades(load_judgments(self.judgments), self.kind), most)


def shop_name(wanted: str) -> str:
    """The shop of a set."""
    return wanted.partition(":")[0]


def show_rows(rows: Mapping[str, Any], difference: str) -> None:
    """Prints nDCG@10 of each row and its paired difference, the value of that name, with interval and p."""
    for row, values in rows.items():
        gain = values[difference]
        interval = f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}], p {gain['p']:.4f}"
        print(f"  {row}: {values['nDCG@10']:.4f}, {interval}", flush=True)


def find_shop(wanted: str, data: Path, work: Path) -> UnseenShop:
    """The shop of a set below `data`; a world of the sample shop is made in `work`."""
    name, _, kind = wanted.partition(":")
    if name in WORLDS:
        made = write_sample(work / "worlds" / name, world=name)
        return UnseenShop(name, kind, made.catalog, made.mapping, made.judgments)
    source = next((entry for entry in general().sources if entry.name == name), None)
    if source is None:
        raise TandemError(f"--set {wanted}: neither a source of recipe general nor one of {', '.join(WORLDS)}")
    judgments = data / source.judgments if source.judgments else None
    return UnseenShop(name, kind, data / source.catalog, mapping_file(source, data), judgments)


def _items(table: pa.Table) -> dict[str, dict[str, float]]:
    """Queries of another seed than those that a recipe learns."""
    queries = pseudo_queries(table, (), PseudoQuerySettings(queries=2_000, per_product=1, seed=11))
    pairs = zip(queries["query"].to_pylist(), queries["product_id"].to_pylist(), strict=True)
    return {query: {product: 1.0, "": 0.0} for query, product in pairs}


def _graded(products: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    return {query: {"": 0.0} | dict.fromkeys(names, 1.0) for query, names in products.items()}


def _some(grades: Mapping[str, dict[str, float]], count: int) -> dict[str, dict[str, float]]:
    queries = sorted(grades)
    sample = np.random.default_rng(0).permutation(len(queries))[:count]
    return {queries[place]: grades[queries[place]] for place in sample}
