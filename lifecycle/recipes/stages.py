"""The stages of a recipe's trainings. The result of a stage is used again until an input of it changes."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.digest import value_digest
from core.progress import Steps
from engine.lexical.index import FORMAT
from lifecycle.examples.mining import group_by_query
from lifecycle.recipes.pace import Pacer
from lifecycle.recipes.recipe import Recipe
from lifecycle.recipes.sets import TrainingSet, mixed
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.negatives import mine_negatives, retrieve_first
from lifecycle.training.record import Kind, model_digest, new_lineage, train_and_record
from lifecycle.training.scoring import TowerSimilarity
from ranker.final import SPEC_FILE
from training.bases import ResolvedBase
from training.examples import Examples, select_split
from training.known_bases import BaseKind
from training.settings import TrainingSettings
from training.stages import REPORT_FILE, ModelStages, Task

_STAMP = "stage.json"
_NEGATIVES = "negatives.parquet"
_RETRIEVED = "found.json"
_LATER = ("query_prefix", "item_prefix", "pooling", "max_seconds")
_WORDS = {"lexical": FORMAT}  # another index retrieves other products

Products = dict[str, list[str]]  # of each query


@dataclass(frozen=True)
class Round:
    """One training of a recipe: what is trained, on which sets, after which models, and into which folder.

    `inputs` is a JSON value of what else its result depends on.
    """

    kind: Kind
    output: Path
    sets: Sequence[TrainingSet]
    settings: TrainingSettings
    after: Sequence[Path] = ()
    inputs: Any = None


@dataclass(frozen=True)
class StageRunner:
    """Does the work of one stage, unless its folder has the result of the same inputs."""

    pacer: Pacer
    steps: Steps
    tracker: Tracker
    bases: Mapping[BaseKind, ResolvedBase]
    similarities: dict[str, TowerSimilarity] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """With as much of the stages begun as there is time for."""
        return self.pacer.recipe

    def similarity(self, towers: Path) -> TowerSimilarity:
        """One for all stages: they embed the same catalogs."""
        digest = model_digest(towers)
        if digest not in self.similarities:
            self.similarities.clear()  # no stage after this one uses the vectors of earlier towers
            self.similarities[digest] = TowerSimilarity(towers)
        return self.similarities[digest]

    def mine(self, folder: Path, sets: Iterable[TrainingSet], towers: Path, seed: int) -> Products:
        """Hard negatives of each query from its own source's catalog, best rank first; none where nothing is mined."""
        if self.recipe.mining is None:
            return {}
        judged_sets = _with_judgments(sets)
        settings = self.recipe.mining.model_copy(update={"seed": seed})
        stamp = self._stamp(settings.model_dump(mode="json") | _WORDS, judged_sets, (towers,))
        if not _is_done(folder, stamp, _NEGATIVES):
            tables = [
                mine_negatives(
                    select_split(mixed([entry]), entry.texts, "train"),
                    entry.products,
                    self.similarity(towers),
                    settings,
                    self.steps,
                ).table
                for entry in judged_sets
            ]
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.concat_tables(tables), folder / _NEGATIVES)
            _finish(folder, stamp)
        return group_by_query(pq.read_table(folder / _NEGATIVES))

    def retrieve(self, folder: Path, sets: Iterable[TrainingSet], towers: Path | None) -> Products:
        """The products that the towers, or BM25, retrieve first for validation queries, from their own source."""
        if not self.recipe.retrieved:
            return {}
        judged_sets = _with_judgments(sets)
        stamp = self._stamp({"found": self.recipe.retrieved} | _WORDS, judged_sets, (towers,) if towers else ())
        if not _is_done(folder, stamp, _RETRIEVED):
            parts = [
                retrieve_first(
                    select_split(entry.judgments, entry.texts, "valid"),
                    entry.products,
                    self.similarity(towers) if towers else None,
                    self.recipe.retrieved,
                    self.steps,
                )
                for entry in judged_sets
            ]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _RETRIEVED).write_text(json.dumps(merge(parts)) + "\n")
            _finish(folder, stamp)
        products: Products = json.loads((folder / _RETRIEVED).read_bytes())
        return products

    def is_done(self, training: Round) -> bool:
        """Whether its folder has the model of the same settings, data and models before it."""
        return _is_done(training.output, self._round_stamp(training), REPORT_FILE)

    def train(
        self, training: Round, stages: ModelStages, examples: Any, settings: TrainingSettings | None = None
    ) -> Path:
        """fit → export → check → record, unless that is done; returns the folder.

        `settings` are those that the round's come to, where its examples are fewer.
        """
        if self.is_done(training):
            return training.output
        output = training.output
        (output / _STAMP).unlink(missing_ok=True)
        data = {name: digest for entry in training.sets for name, digest in entry.digests.items()}
        data |= {f"model {folder.name}": model_digest(folder) for folder in training.after}
        base = self.bases[training.kind]
        lineage = new_lineage(training.kind, base.name, self.recipe.name, data, base.origin)
        task = Task(examples, settings or training.settings, output)
        train_and_record(lineage, stages, task, f"train {output.name}", self.steps, self.tracker)
        _finish(output, self._round_stamp(training))
        return output

    def learn_final(
        self, output: Path, sets: Sequence[TrainingSet], after: Sequence[Path], learn: Callable[[Path], None]
    ) -> None:
        """Has the final score of all sources learned into `output` over the models `after`, unless that is done."""
        settings = self.recipe.final
        assert settings is not None, "called for recipes with a final score"
        stamp = self._stamp(settings.model_dump(mode="json") | _WORDS, sets, after)
        if not _is_done(output, stamp, SPEC_FILE):
            (output / SPEC_FILE).unlink(missing_ok=True)
            learn(output)
            _finish(output, stamp)

    def _round_stamp(self, training: Round) -> str:
        settings = training.settings.model_dump(mode="json")
        # Stages of versions without these settings are done too.
        given = {name: value for name, value in settings.items() if name not in _LATER or value is not None}
        return self._stamp(given, training.sets, training.after, training.inputs, training.kind)

    def _stamp(
        self,
        settings: dict[str, Any],
        sets: Iterable[TrainingSet],
        after: Iterable[Path],
        inputs: Any = None,
        kind: BaseKind = "encoder",
    ) -> str:
        """A digest of all that a stage's result depends on. Where the models before it lie is not among it."""
        wanted = settings | {"base": None, "keep_of": None}
        sets = list(sets)
        sources = [[entry.source.model_dump(mode="json", by_alias=True), entry.digests] for entry in sets]
        augmentation = self.recipe.augmentation and self.recipe.augmentation.model_dump()
        replay = None
        if self.recipe.final_stage and any(entry.source.final_only for entry in sets):
            replay = [self.recipe.final_stage.replay, self.recipe.final_stage.replay_valid]
        models = [model_digest(folder) for folder in after]
        return value_digest([wanted, self.bases[kind].location, sources, augmentation, replay, models, inputs])


def make_examples(
    sets: Sequence[TrainingSet], judgments: pa.Table, negatives: Products, retrieved: Products
) -> Examples:
    """The examples of several sets; their language is known where they all have the same."""
    texts = {name: text for entry in sets for name, text in entry.texts.items()}
    languages = {entry.products.language for entry in sets}
    language = languages.pop() if len(languages) == 1 else None
    return Examples(
        texts,
        select_split(judgments, texts, "train"),
        select_split(judgments, texts, "valid"),
        language,
        negatives,
        retrieved,
    )


def merge(parts: Iterable[Mapping[str, list[str]]]) -> Products:
    """Each query's products of all parts, one after another."""
    result: Products = {}
    for part in parts:
        for query, names in part.items():
            result.setdefault(query, []).extend(names)
    return result


def _with_judgments(sets: Iterable[TrainingSet]) -> list[TrainingSet]:
    return [entry for entry in sets if len(entry.judgments)]


def _is_done(folder: Path, stamp: str, last: str) -> bool:
    try:
        return (folder / last).is_file() and json.loads((folder / _STAMP).read_bytes())["inputs"] == stamp
    except (OSError, ValueError, KeyError):
        return False


def _finish(folder: Path, stamp: str) -> None:
    (folder / _STAMP).write_text(json.dumps({"inputs": stamp}) + "\n")
