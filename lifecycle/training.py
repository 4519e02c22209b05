"""From a feed and judgments to a trained model folder."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from core.columns import Columns
from core.errors import FeedError, ModelError
from core.judgments import load_judgments
from core.product import product_text
from core.progress import Steps
from indexer.products import clean_feed
from lifecycle.feeds import mapping_of
from lifecycle.similarity import TowerSimilarity

Kind = Literal["encoder", "ranker"]


def train_model(
    kind: Kind,
    catalog: Path,
    mapping: Path | None,
    judgments: Path,
    output: Path,
    settings: dict[str, Any],
    steps: Steps,
    towers: Path | None = None,
) -> dict[str, Any]:
    """Fine-tunes one model and leaves it, exported, in `output`; returns its report.

    Settings that are None keep their defaults. `towers` is the folder of those whose similarity a ranker is to build
    on. Raises FeedError or ModelError.
    """
    similarity = TowerSimilarity(towers) if towers else None
    table = load_judgments(judgments)
    texts = _texts(catalog, mapping, steps)
    table = _known(table, texts, judgments)
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        if kind == "encoder":
            from encoder.train.finetune import EncoderTraining, train_encoder

            with steps.step("fine-tune the towers") as report:
                return train_encoder(texts, table, output, EncoderTraining(**given), report)
        from ranker.train.finetune import RankerTraining, no_similarity, train_ranker

        with steps.step("fine-tune the ranker") as report:
            return train_ranker(texts, table, output, RankerTraining(**given), similarity or no_similarity, report)
    except ModuleNotFoundError as error:
        raise ModelError(f"training needs {error.name}: pip install 'tandem-retrieval[train]'") from None


def _texts(catalog: Path, mapping: Path | None, steps: Steps) -> dict[str, str]:
    """Product texts by id, through the same cleaning as indexing."""
    with tempfile.TemporaryDirectory(prefix="tandem-train-") as work, steps.step("read the catalog") as report:
        columns = Columns(clean_feed(catalog, mapping_of(mapping), Path(work), report).columns)
        return {row["id"]: product_text(row) for batch in columns.batches() for row in batch.to_pylist()}


def _known(table: pa.Table, texts: dict[str, str], judgments: Path) -> pa.Table:
    """The judgments of products that the catalog holds; at least half of them must be."""
    known = table.filter(pc.is_in(table["product_id"], pa.array(texts, pa.string())))
    if len(known) * 2 < len(table):
        raise FeedError(
            f"{judgments}: {len(table) - len(known):,} of {len(table):,} judgments name products that the catalog does "
            "not hold; check that both use the same product ids"
        )
    for split in ("train", "valid"):
        if not pc.any(pc.equal(known["split"], split)).as_py():
            raise FeedError(f"{judgments}: no judgments of split {split}; a model needs train and valid")
    return known
