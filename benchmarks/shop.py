"""The shop a benchmark runs on: its files, the models trained for it, and its release."""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from catalog.product import product_text
from catalog.table import ProductTable
from core.errors import TandemError
from core.manifest import Manifest
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from evaluation.measures import Grades
from indexer.inputs import IndexOptions
from indexer.job import IndexOutcome, index_feed
from indexer.models import ModelFolders
from indexer.products import clean_feed
from indexer.publish import COLUMNS_FILE
from lifecycle.cli.progress import Bars
from lifecycle.feeds import read_mapping


@dataclass(frozen=True, slots=True)
class Questions:
    """Different queries of split test in the file's order, their grades, and queries of split valid."""

    queries: list[str]
    grades: Grades
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BenchShop:
    """A catalog, queries of its judgments, and model folders from `tandem train` (with their fp32 checkpoints)."""

    catalog: Path
    mapping: Path | None
    questions: Questions
    models: ModelFolders
    store: ReleaseStore

    @property
    def encoder_checkpoint(self) -> Path:
        """The fp32 towers."""
        return self.models.encoder / "checkpoint"

    def index(self, models: ModelFolders | None = None, options: IndexOptions | None = None) -> IndexOutcome:
        """Publishes the catalog under the models, unless that is done."""
        bars, mapping = Bars(Console(stderr=True)), read_mapping(self.mapping)
        return index_feed(self.catalog, mapping, models or self.models, options or IndexOptions(), self.store, bars)

    def columns(self, manifest: Manifest) -> ProductTable:
        """A release's products."""
        return ProductTable(self.store.path(manifest.catalog, manifest.release_id) / COLUMNS_FILE)

    def texts(self, manifest: Manifest) -> list[str]:
        """Every product text in row order."""
        return [product_text(row) for batch in self.columns(manifest).batches() for row in batch.to_pylist()]

    def with_titles(self, count: int, work: Path) -> "BenchShop":
        """So many of its products, ids and titles alone: first those that are judged, then others in the feed's order.

        The feed of them is written into `work`.
        """
        columns = ProductTable(clean_feed(self.catalog, read_mapping(self.mapping), work / "cleaned").columns)
        titles = {row["id"]: row["title"] for batch in columns.batches() for row in batch.to_pylist()}
        judged = (product for products in self.questions.grades.values() for product in products)
        chosen = list(dict.fromkeys([*(product for product in judged if product in titles), *titles]))[:count]
        feed = work / f"titles-{count}.jsonl"
        feed.write_text("".join(json.dumps({"id": each, "title": titles[each]}) + "\n" for each in chosen))
        return replace(self, catalog=feed, mapping=None)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that name a shop; all default to the sample shop that `make run` made."""
    parser.add_argument("--catalog", type=Path, help="feed; default: the sample shop of `make run`")
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--judgments", type=Path, help="whose test queries are sent")
    parser.add_argument("--encoder", type=Path, help="folder that `tandem train encoder` left")
    parser.add_argument("--ranker", type=Path, help="folder that `tandem train ranker` left")
    parser.add_argument("--releases", type=Path, default=Path("releases"))


def shop_of(options: argparse.Namespace, most: int | None = None) -> BenchShop:
    """With at most so many queries. Raises TandemError when something needed is not there."""
    sample = options.releases / "sample"
    trained = sorted((options.releases / "trained").glob("*"), key=lambda path: path.stat().st_mtime)
    newest = trained[-1] if trained else Path("missing")
    catalog = options.catalog or sample / "catalog.jsonl.gz"
    mapping = options.mapping or (None if options.catalog else sample / "mapping.toml")
    judgments = options.judgments or sample / "judgments.parquet"
    models = ModelFolders(options.encoder or newest / "encoder", options.ranker or newest / "ranker")
    for path in (catalog, judgments, models.encoder, models.ranker):
        if path is None or not path.exists():
            raise TandemError(f"{path}: not there; run `make run` first, or name your own shop's files and models")
    return BenchShop(catalog, mapping, read_questions(judgments, most), models, ReleaseStore(options.releases))


def read_questions(judgments: Path, most: int | None = None) -> Questions:
    """At most so many queries are used. Raises TandemError where none is in split test."""
    grades: dict[str, dict[str, float]] = {}
    held_out: dict[str, None] = {}
    for row in load_judgments(judgments).to_pylist():
        if row["split"] == "valid":
            held_out[row["query"]] = None
        elif row["split"] == "test" and (row["query"] in grades or most is None or len(grades) < most):
            grades.setdefault(row["query"], {})[row["product_id"]] = row["grade"]
    if not grades:
        raise TandemError(f"{judgments}: no query is in split test")
    return Questions(list(grades), grades, tuple(held_out))
