"""Runs a recipe, stage by stage. A stage that is done with the same inputs is not done again; a cut one goes on."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.digest import value_digest
from core.progress import Steps
from encoder.bi_encoder import BiEncoder
from encoder.train.finetune import train_encoder
from engine.lexical.index import FORMAT
from lifecycle.examples.mining import Mining, by_query
from lifecycle.examples.rounds import found_first, mine_negatives
from lifecycle.recipes.pace import Pacer
from lifecycle.recipes.recipe import Compression, Recipe
from lifecycle.recipes.sets import LearningSet, mixed, read_sets, varied
from lifecycle.tracking.lineage import Lineage, git_revision
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.compression import ranker_pairs
from lifecycle.training.fine_tuning import Kind, recorded
from lifecycle.training.similarity import TowerSimilarity
from ranker.ranker import Ranker
from ranker.train.compress import distil_ranker, teacher_logits
from ranker.train.finetune import train_ranker
from training.export import CHECKPOINT, base_location, base_name
from training.loop import REPORT_FILE, TrainingSettings, judged

ENCODER, RANKER, STAGES = "encoder", "ranker", "stages"
_STAMP = "stage.json"
_NEGATIVES = "negatives.parquet"
_FOUND = "found.json"
_WORDS = {"lexical": FORMAT}  # another index finds other products


def run_recipe(
    recipe: Recipe,
    data: Path,
    output: Path,
    steps: Steps,
    tracker: Tracker,
    base: str | None = None,
    stages: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Leaves `encoder` and `ranker` in `output`, and what was before them in `stages`, by default a folder of it.

    Learns as much as the recipe's `minutes` leave time for on this machine, and tells when that is not all. `base` is
    what both start from, instead of the bundled model. Late sources are no part of the stages before the
    last: several outputs whose late sources differ may share `stages`. Raises FeedError or ModelError.
    """
    after = output / STAGES
    before = stages or after
    sets = read_sets(recipe.sources, data, recipe.towers.seed, steps)
    pacer = Pacer(recipe, before, after, base, tell)
    run = _Run(pacer, sets, steps, tracker, base, before, after)
    towers = run.towers((before if recipe.late else output) / ENCODER)
    last = None if recipe.late or recipe.compression else output / RANKER
    teacher = run.ranker(last or before / "teacher", towers)
    if recipe.late:
        towers = run.late_towers(output / ENCODER, towers)
        last = after / "late-teacher" if recipe.compression else output / RANKER
        teacher = run.late_ranker(last, towers, teacher)
    if recipe.compression:
        run.compress(output / RANKER, towers, teacher)
    pacer.finish()


@dataclass(frozen=True)
class _Run:
    """One run over the sets that were read; `before` and `after` hold the stages without and with late ones.

    What retrieval finds is looked for with each model anew (`found-1` by words, then by the towers in their order):
    models are validated among it.
    """

    pacer: Pacer
    sets: Sequence[LearningSet]
    steps: Steps
    tracker: Tracker
    base: str | None
    before: Path
    after: Path
    similarities: dict[str, TowerSimilarity] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """With as much of the stages begun as there is time for."""
        return self.pacer.recipe

    def towers(self, output: Path) -> Path:
        """One round of towers, or two; the last is left in `output`."""
        recipe, early = self.pacer.start("towers"), self._early
        table = pa.concat_tables([self._varied(mixed(early)), *(entry.made_up for entry in early)])
        first = self.before / "first-round" if recipe.mined else output
        found = self._found(self.before / "found-1", early, None)
        train = partial(train_encoder, judgments=table, found=found)
        self._train("encoder", first, early, self._from_base(recipe.towers), train, further=found)
        if recipe.mined is None:
            return first
        mined = self.pacer.start("mined").mined
        assert mined is not None, "a stage is shortened, never left out"
        negatives = self._mined(self.before / "mined-1", early, first, recipe.towers.seed)
        found = self._found(self.before / "found-2", early, first)
        origin = base_location(self.base)
        settings = mined.model_copy(update={"base": str(first / CHECKPOINT), "keep_of": origin})
        train = partial(train_encoder, judgments=table, negatives=negatives, found=found)
        return self._train("encoder", output, early, settings, train, after=(first,), further=[negatives, found])

    def ranker(self, output: Path, towers: Path) -> Path:
        """The cross-encoder, on judgments and on what the towers find."""
        early, recipe = self._early, self.pacer.start("ranker")
        negatives = self._early_negatives(towers)
        found = self._early_found(towers)
        train = self._ranker_training(mixed(early), towers, negatives, found)
        settings = self._from_base(recipe.ranker)
        return self._train("ranker", output, early, settings, train, after=(towers,), further=[negatives, found])

    def _ranker_training(
        self, table: pa.Table, towers: Path, negatives: dict[str, list[str]], found: dict[str, list[str]]
    ) -> Callable[..., dict[str, Any]]:
        similarity = self._similarity(towers)
        return partial(train_ranker, judgments=table, similarity=similarity, negatives=negatives, found=found)

    def late_towers(self, output: Path, towers: Path) -> Path:
        """The towers, taught the late sources too."""
        late = self.pacer.start("late").late
        assert late is not None, "called for recipes with a last stage"
        table = self._varied(mixed(self.sets, late, self.recipe.towers.seed))
        settings = late.towers.model_copy(update={"base": str(towers / CHECKPOINT)})
        negatives = self._early_negatives(towers)
        found = self._late_found("found-4", towers)
        train = partial(train_encoder, judgments=table, negatives=negatives, found=found)
        return self._train("encoder", output, self.sets, settings, train, after=(towers,), further=[negatives, found])

    def late_ranker(self, output: Path, towers: Path, teacher: Path) -> Path:
        """The cross-encoder, taught the late sources too, and of the others what their own towers find."""
        assert self.recipe.late is not None, "called for recipes with a last stage"
        mined = self._mined(self.after / "mined-3", self._late, towers, self.recipe.towers.seed + 2)
        negatives = _merged([mined, self._early_negatives(self._early_towers)])
        table = mixed(self.sets, self.recipe.late, self.recipe.towers.seed)
        settings = self.recipe.late.ranker.model_copy(update={"base": str(teacher / CHECKPOINT)})
        found = self._late_found("found-5", towers)
        train = self._ranker_training(table, towers, negatives, found)
        return self._train(
            "ranker", output, self.sets, settings, train, after=(towers, teacher), further=[negatives, found]
        )

    def compress(self, output: Path, towers: Path, teacher: Path) -> Path:
        """The cross-encoder to serve, taught what the larger one says."""
        compression, table = self.pacer.start("student").compression, mixed(self.sets)
        assert compression is not None, "a stage is shortened, never left out"
        similarity = self._similarity(towers)
        found = self._late_found("found-5", towers) if self.recipe.late else self._early_found(towers)

        def distil(texts: Mapping[str, str], output: Path, settings: Any, **options: Any) -> dict[str, Any]:
            pairs, settings = _seen(self._asked(compression, similarity), settings)
            with self.steps.step("ask the teacher") as report:
                teacher_logits(Ranker.open(teacher), pairs, output, settings.threads, report)
            return distil_ranker(
                teacher, pairs, texts, table, output, settings=settings, similarity=similarity, found=found, **options
            )

        after = (towers, teacher)
        further = [compression.candidates, compression.late_candidates, found]
        return self._train("ranker", output, self.sets, compression.student, distil, after, further)

    @property
    def _early(self) -> list[LearningSet]:
        return [entry for entry in self.sets if not entry.source.late]

    @property
    def _late(self) -> list[LearningSet]:
        return [entry for entry in self.sets if entry.source.late]

    @property
    def _early_towers(self) -> Path:
        """Those that a last stage goes on from."""
        return self.before / ENCODER

    def _from_base(self, settings: TrainingSettings) -> Any:
        return settings.model_copy(update={"base": self.base}) if self.base else settings

    def _varied(self, table: pa.Table) -> pa.Table:
        return varied(table, self.recipe.augmentation) if self.recipe.augmentation else table

    def _asked(self, compression: Compression, similarity: TowerSimilarity) -> list[tuple[str, str]]:
        """What the student is taught: each source's train queries, with products that its own catalog has."""
        pairs: list[tuple[str, str]] = []
        for entry in self.sets:
            if len(entry.judgments):
                train = judged(entry.judgments, entry.texts, "train")
                candidates = compression.late_candidates if entry.source.late else compression.candidates
                with self.steps.step(f"find products of {entry.source.name} to ask of") as report:
                    pairs += ranker_pairs(train, entry.products, candidates, similarity)
                    report(len(pairs), len(pairs))
        return list(dict.fromkeys(pairs))

    def _early_negatives(self, towers: Path) -> dict[str, list[str]]:
        return self._mined(self.before / "mined-2", self._early, towers, self.recipe.towers.seed + 1)

    def _early_found(self, towers: Path) -> dict[str, list[str]]:
        return self._found(self.before / "found-3", self._early, towers)

    def _late_found(self, name: str, towers: Path) -> dict[str, list[str]]:
        """By the towers in the late sources; in the others by their own, from which these hardly differ there."""
        found = self._found(self.after / name, self._late, towers)
        return _merged([found, self._early_found(self._early_towers)])

    def _similarity(self, towers: Path) -> TowerSimilarity:
        """One for all stages: they embed the same catalogs."""
        digest = _digest(towers)
        if digest not in self.similarities:
            self.similarities.clear()  # the vectors of towers that came before are of no more use
            self.similarities[digest] = TowerSimilarity(towers)
        return self.similarities[digest]

    def _mined(self, folder: Path, sets: Iterable[LearningSet], towers: Path, seed: int) -> dict[str, list[str]]:
        """Negatives of each query from its own source's catalog, best rank first; kept until something changes."""
        if self.recipe.mining is None:
            return {}
        chosen = [entry for entry in sets if len(entry.judgments)]
        settings = self.recipe.mining.model_copy(update={"seed": seed})
        stamp = self._stamp(settings.model_dump(mode="json") | _WORDS, chosen, (towers,))
        if not _is_done(folder, stamp, _NEGATIVES):
            tables = [self._mine(entry, towers, settings) for entry in chosen]
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.concat_tables(tables), folder / _NEGATIVES)
            _finish(folder, stamp)
        return by_query(pq.read_table(folder / _NEGATIVES))

    def _found(self, folder: Path, sets: Iterable[LearningSet], towers: Path | None) -> dict[str, list[str]]:
        """What the towers, or BM25, find first for queries to validate on, in their own source; kept as mined ones."""
        if not self.recipe.found:
            return {}
        chosen = [entry for entry in sets if len(entry.judgments)]
        stamp = self._stamp({"found": self.recipe.found} | _WORDS, chosen, (towers,) if towers else ())
        if not _is_done(folder, stamp, _FOUND):
            found = _merged(self._first(entry, towers) for entry in chosen)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _FOUND).write_text(json.dumps(found) + "\n")
            _finish(folder, stamp)
        kept: dict[str, list[str]] = json.loads((folder / _FOUND).read_bytes())
        return kept

    def _mine(self, entry: LearningSet, towers: Path, settings: Mining) -> pa.Table:
        train = judged(mixed([entry]), entry.texts, "train")
        return mine_negatives(train, entry.products, self._similarity(towers), settings, self.steps).table

    def _first(self, entry: LearningSet, towers: Path | None) -> dict[str, list[str]]:
        valid = judged(entry.judgments, entry.texts, "valid")
        similarity = self._similarity(towers) if towers else None
        return found_first(valid, entry.products, similarity, self.recipe.found, self.steps)

    def _train(
        self,
        kind: Kind,
        output: Path,
        sets: Sequence[LearningSet],
        settings: TrainingSettings,
        train: Callable[..., dict[str, Any]],
        after: Sequence[Path] = (),
        further: Any = None,
    ) -> Path:
        """One fine-tuning, tracked, unless it is done already with the same settings, data and models before it."""
        stamp = self._stamp(settings.model_dump(mode="json"), sets, after, further)
        if _is_done(output, stamp, REPORT_FILE):
            return output
        texts = {name: text for entry in sets for name, text in entry.texts.items()}
        (output / _STAMP).unlink(missing_ok=True)

        def trained() -> dict[str, Any]:
            with self.steps.step(f"train {output.name}") as report:
                return train(texts=texts, output=output, settings=settings, report=report, language=_language(sets))

        recorded(self._lineage(kind, sets, settings, after), settings, trained, output, self.tracker)
        _finish(output, stamp)
        return output

    def _lineage(
        self, kind: Kind, sets: Iterable[LearningSet], settings: TrainingSettings, after: Iterable[Path]
    ) -> Lineage:
        data = {name: digest for entry in sets for name, digest in entry.digests.items()}
        return Lineage(
            kind=kind,
            base=base_name(self.base),
            catalog=self.recipe.name,
            started=datetime.now(UTC),
            data=data | {f"model {folder.name}": _digest(folder) for folder in after},
            tandem_version=version("tandem-retrieval"),
            git=git_revision(Path(__file__)),
        )

    def _stamp(
        self, settings: dict[str, Any], sets: Iterable[LearningSet], after: Iterable[Path], further: Any = None
    ) -> str:
        """What a stage's result hangs on. Where the models before it lie is not among it."""
        wanted = settings | {"base": None, "keep_of": None}
        sets = list(sets)
        sources = [[entry.source.model_dump(mode="json"), entry.digests] for entry in sets]
        augmentation = self.recipe.augmentation and self.recipe.augmentation.model_dump()
        late = None
        if self.recipe.late and any(entry.source.late for entry in sets):
            late = [self.recipe.late.replay, self.recipe.late.replay_valid]
        models = [_digest(folder) for folder in after]
        return value_digest([wanted, self.base, sources, augmentation, late, models, further])


def _seen(pairs: list[tuple[str, str]], settings: Any) -> tuple[list[tuple[str, str]], Any]:
    """The pairs that training comes to see, drawn where that is not all: the teacher is asked of no others."""
    if settings.epochs >= 1:
        return pairs, settings
    random = np.random.default_rng(settings.seed)
    drawn = np.sort(random.permutation(len(pairs))[: math.ceil(len(pairs) * settings.epochs)])
    return [pairs[place] for place in drawn], settings.model_copy(update={"epochs": 1.0})


def _merged(parts: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Each query's products of all parts, one after another."""
    result: dict[str, list[str]] = {}
    for part in parts:
        for query, names in part.items():
            result.setdefault(query, []).extend(names)
    return result


def _digest(folder: Path) -> str:
    """Of the model that a stage left."""
    is_ranker = (folder / "ranker.json").is_file()
    return Ranker.open(folder).digest if is_ranker else BiEncoder.open(folder).digest


def _language(sets: Sequence[LearningSet]) -> str | None:
    """The language of the sets, where they all have the same."""
    spoken = {entry.products.language for entry in sets}
    return spoken.pop() if len(spoken) == 1 else None


def _is_done(folder: Path, stamp: str, last: str) -> bool:
    try:
        return (folder / last).is_file() and json.loads((folder / _STAMP).read_bytes())["inputs"] == stamp
    except (OSError, ValueError, KeyError):
        return False


def _finish(folder: Path, stamp: str) -> None:
    (folder / _STAMP).write_text(json.dumps({"inputs": stamp}) + "\n")
