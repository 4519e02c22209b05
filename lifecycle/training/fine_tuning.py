"""From a feed and judgments to a trained model folder."""

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from catalog.table import ProductTable
from core.digest import file_digest, value_digest
from core.errors import FeedError
from core.progress import Silent, Steps
from encoder.bi_encoder import SPEC_FILE as TOWER_FILE
from encoder.bi_encoder import BiEncoder
from evaluation.judgments import load_judgments
from indexer.cleaning.mapping import FeedMapping
from indexer.products import clean_feed
from lifecycle.examples.mining import Mining, by_query
from lifecycle.examples.products import Products
from lifecycle.examples.rounds import FOUND, found_first, mine_negatives
from lifecycle.feeds import read_mapping
from lifecycle.tracking.curves import CURVES_FILE, draw_curves
from lifecycle.tracking.lineage import RUN_FILE, Lineage, git_revision, write_lineage
from lifecycle.tracking.reliability import RELIABILITY_FILE, draw_reliability
from lifecycle.tracking.tracker import NullTracker, Tracker
from lifecycle.training.similarity import TowerSimilarity
from lifecycle.training.teacher import Teacher
from ranker.ranker import SPEC_FILE as RANKER_FILE
from ranker.ranker import Ranker
from training.export import base_name
from training.loop import REPORT_FILE, TrainingSettings, judged
from training.processes import is_main_process

Kind = Literal["encoder", "ranker"]

_STEPS: dict[Kind, str] = {"encoder": "fine-tune the towers", "ranker": "fine-tune the ranker"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to learn from. `towers` is the folder of those whose similarity a ranker is to build on.

    With `mining`, hard negatives too, of what BM25 and the towers find: those, or the ones that a training starts from.
    `teacher` is the folder of a cross-encoder: towers learn its logits, a ranker what it says of mined negatives, of
    which those that it finds good are left out.
    """

    catalog: Path
    mapping: Path | None
    judgments: Path
    towers: Path | None = None
    mining: Mining | None = None
    teacher: Path | None = None


@dataclass(frozen=True)
class Shop:
    """The files as they were read; judgments are those of products that the catalog holds."""

    mapping: FeedMapping
    products: Products
    judgments: pa.Table

    @cached_property
    def texts(self) -> dict[str, str]:
        """Product texts by id."""
        return dict(zip(self.products.ids, self.products.texts, strict=True))


def train_model(
    kind: Kind, inputs: Inputs, output: Path, settings: dict[str, Any], steps: Steps, tracker: Tracker
) -> dict[str, Any]:
    """Fine-tunes one model and leaves it in `output`, exported, with its lineage and curves; returns its report.

    Settings that are None keep their defaults. Under torchrun the first process writes and tells for all. Raises
    FeedError or ModelError.
    """
    if not is_main_process():
        steps, tracker = Silent(), NullTracker()
    similarity = TowerSimilarity(inputs.towers) if inputs.towers else None
    shop = read_inputs(inputs, steps)
    given = {name: value for name, value in settings.items() if value is not None}
    lineage = lineage_of(kind, inputs, shop.mapping, base_name(given.get("base")))
    chosen, train = _fine_tuning(kind, given, similarity)
    mined: dict[str, dict[str, list[str]]] = {}
    if inputs.mining:
        mined = _mined(inputs, shop, similarity, chosen.base, steps)
    elif similarity is not None:  # what is served, beside which the ranker has to be worth its while
        valid = judged(shop.judgments, shop.texts, "valid")
        mined = {"found": found_first(valid, shop.products, similarity, FOUND, steps)}
    taught = _taught(Teacher(inputs.teacher), similarity) if inputs.teacher else {}

    def trained() -> dict[str, Any]:
        with steps.step(_STEPS[kind]) as report:
            told = {"report": report, "language": shop.mapping.catalog.language}
            return train(shop.texts, shop.judgments, output, **told, **mined, **taught)

    return recorded(lineage, chosen, trained, output, tracker)


def read_inputs(inputs: Inputs, steps: Steps) -> Shop:
    """Reads the catalog, through the same cleaning as indexing, and the judgments. Raises FeedError."""
    table = load_judgments(inputs.judgments, to_learn=True)
    mapping = read_mapping(inputs.mapping)
    with tempfile.TemporaryDirectory(prefix="tandem-train-") as work, steps.step("read the catalog") as report:
        columns = ProductTable(clean_feed(inputs.catalog, mapping, Path(work), report).columns)
        catalog = pa.Table.from_batches(list(columns.batches()))
        products = Products.of(catalog, mapping.catalog.language)
    return Shop(mapping, products, known_judgments(table, products.ids, inputs.judgments))


def _mined(
    inputs: Inputs, shop: Shop, similarity: TowerSimilarity | None, base: str | None, steps: Steps
) -> dict[str, dict[str, list[str]]]:
    """Arguments of a training: negatives to train on, and what is found first for queries to validate on."""
    assert inputs.mining is not None, "called for trainings that mine"
    train, valid = (judged(shop.judgments, shop.texts, split) for split in ("train", "valid"))
    with _exported(base, shop) if similarity is None else nullcontext(similarity) as towers:
        negatives = mine_negatives(train, shop.products, towers, inputs.mining, steps, inputs.teacher).table
        return {
            "negatives": by_query(negatives),
            "found": found_first(valid, shop.products, towers, FOUND, steps),
        }


def _taught(teacher: Teacher, similarity: TowerSimilarity | None) -> dict[str, Any]:
    """Arguments of a training: towers learn the logits, a ranker how likely mined negatives are good after all."""
    if similarity is None:
        return {"teacher": teacher.logits}
    return {"soft": partial(teacher.chances, similarity=similarity)}


@contextmanager
def _exported(base: str | None, shop: Shop) -> Iterator[TowerSimilarity]:
    """The towers that a training starts from. Loads torch unless they are exported already."""
    if base and (Path(base) / TOWER_FILE).is_file():
        yield TowerSimilarity(Path(base))
        return
    from encoder.train.export import export_encoder
    from encoder.train.finetune import parity_texts

    with tempfile.TemporaryDirectory(prefix="tandem-base-") as folder:
        export_encoder(base, Path(folder), parity_texts(shop.texts))
        yield TowerSimilarity(Path(folder))


def recorded(
    lineage: Lineage,
    settings: TrainingSettings,
    train: Callable[[], dict[str, Any]],
    output: Path,
    tracker: Tracker,
) -> dict[str, Any]:
    """Runs a training that leaves its model in `output`, and adds lineage and curves to it; returns its report."""
    for name in (RUN_FILE, CURVES_FILE, RELIABILITY_FILE) if is_main_process() else ():
        (output / name).unlink(missing_ok=True)
    with tracker.run(lineage, settings.model_dump()) as run:
        made = train()
        if not is_main_process():
            return made
        kept = _kept(lineage.kind, output, made, lineage.catalog)
        tracked = run.record(made, _digest(lineage.kind, output), kept)
    write_lineage(output, lineage.model_copy(update={"run": tracked}))
    return made


def _fine_tuning(
    kind: Kind, given: dict[str, Any], similarity: TowerSimilarity | None
) -> tuple[TrainingSettings, Callable[..., dict[str, Any]]]:
    """All settings of a training, and the function that trains by them. Loads torch."""
    if kind == "encoder":
        from encoder.train.finetune import EncoderTraining, train_encoder

        towers = EncoderTraining(**given)
        return towers, partial(train_encoder, settings=towers)
    from ranker.train.finetune import train_ranker
    from ranker.train.settings import RankerTraining
    from ranker.train.validation import no_similarity

    ranker = RankerTraining(**given)
    return ranker, partial(train_ranker, settings=ranker, similarity=similarity or no_similarity)


def lineage_of(
    kind: Kind, inputs: Inputs, mapping: FeedMapping, base: str, further: dict[str, str] | None = None
) -> Lineage:
    """What a model is about to be made of: digests of the inputs, those of `further` among them, and the code."""
    data = {"catalog": file_digest(inputs.catalog), "judgments": file_digest(inputs.judgments)}
    data["mapping"] = value_digest(mapping.model_dump(mode="json"))
    if inputs.towers:
        data["towers"] = BiEncoder.open(inputs.towers).digest
    if inputs.mining:
        data["mining"] = value_digest(inputs.mining.model_dump(mode="json"))
    if inputs.teacher:
        data["teacher"] = Ranker.open(inputs.teacher).digest
    return Lineage(
        kind=kind,
        base=base,
        catalog=mapping.catalog.name,
        started=datetime.now(UTC),
        data=data | (further or {}),
        tandem_version=version("tandem-retrieval"),
        git=git_revision(Path(__file__)),
    )


def _digest(kind: Kind, output: Path) -> str:
    return BiEncoder.open(output).digest if kind == "encoder" else Ranker.open(output).digest


def _kept(kind: Kind, output: Path, report: dict[str, Any], catalog: str) -> list[Path]:
    """Draws what there is to draw, where matplotlib is there, and names the files to keep with the run."""
    files = [output / REPORT_FILE, output / (TOWER_FILE if kind == "encoder" else RANKER_FILE)]
    try:
        draw_curves(report, f"{catalog}: {kind}", output / CURVES_FILE)
        files.append(output / CURVES_FILE)
        if report.get("reliability"):
            draw_reliability(report["reliability"], f"{catalog}: {kind}", output / RELIABILITY_FILE)
            files.append(output / RELIABILITY_FILE)
    except ModuleNotFoundError:
        pass
    return files


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
