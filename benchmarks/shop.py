"""The shop a benchmark runs on: its files, the models trained for it, and its release."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from core.columns import Columns
from core.errors import TandemError
from core.judgments import load_judgments
from core.manifest import Manifest
from core.product import product_text
from core.releases import ReleaseStore
from indexer.job import COLUMNS_FILE, Models, Options, index_feed
from lifecycle.feeds import mapping_of
from lifecycle.progress import Bars


@dataclass(frozen=True, slots=True)
class BenchShop:
    """A catalog, queries of its judgments, and model folders from `tandem train` (with their fp32 checkpoints)."""

    catalog: Path
    mapping: Path | None
    queries: list[str]
    models: Models
    store: ReleaseStore

    @property
    def encoder_checkpoint(self) -> Path:
        """The fp32 towers."""
        return self.models.encoder / "checkpoint"

    @property
    def ranker_checkpoint(self) -> Path:
        """The fp32 cross-encoder."""
        assert self.models.ranker is not None
        return self.models.ranker / "checkpoint"

    def index(self) -> Manifest:
        """Publishes the catalog under the models, unless that is done."""
        bars = Bars(Console(stderr=True))
        return index_feed(self.catalog, mapping_of(self.mapping), self.models, Options(), self.store, bars).manifest

    def texts(self, manifest: Manifest) -> list[str]:
        """Every product text in row order."""
        columns = Columns(self.store.path(manifest.catalog, manifest.release_id) / COLUMNS_FILE)
        return [product_text(row) for batch in columns.batches() for row in batch.to_pylist()]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that name a shop; all default to the sample shop that `make run` made."""
    parser.add_argument("--catalog", type=Path, help="feed; default: the sample shop of `make run`")
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--judgments", type=Path, help="whose test queries are asked")
    parser.add_argument("--encoder", type=Path, help="folder that `tandem train encoder` left")
    parser.add_argument("--ranker", type=Path, help="folder that `tandem train ranker` left")
    parser.add_argument("--releases", type=Path, default=Path("releases"))


def shop_of(options: argparse.Namespace) -> BenchShop:
    """Raises TandemError when something needed is not there."""
    sample = options.releases / "sample"
    trained = sorted((options.releases / "trained").glob("*"), key=lambda path: path.stat().st_mtime)
    newest = trained[-1] if trained else Path("missing")
    catalog = options.catalog or sample / "catalog.jsonl.gz"
    mapping = options.mapping or (None if options.catalog else sample / "mapping.toml")
    judgments = options.judgments or sample / "judgments.parquet"
    models = Models(options.encoder or newest / "encoder", options.ranker or newest / "ranker")
    for path in (catalog, judgments, models.encoder, models.ranker):
        if path is None or not path.exists():
            raise TandemError(f"{path}: not there; run `make run` first, or name your own shop's files and models")
    table = load_judgments(judgments)
    rows = zip(table["query"].to_pylist(), table["split"].to_pylist(), strict=True)
    queries = list(dict.fromkeys(query for query, split in rows if split == "test"))
    return BenchShop(catalog, mapping, queries, models, ReleaseStore(options.releases))
