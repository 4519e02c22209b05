"""Runs a recipe: read → examples → negatives → fit → export → check → record, once for each model that it trains.

A stage that is done with the same inputs is not done again; one that was cut goes on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import FeedError
from core.progress import Steps
from encoder.train import finetune as encoder
from lifecycle.recipes.final import learn_of_sources
from lifecycle.recipes.pace import Pacer
from lifecycle.recipes.recipe import Compression, Recipe
from lifecycle.recipes.sets import TrainingSet, mixed, read_sets, varied
from lifecycle.recipes.stages import Products, Round, StageRunner, make_examples, merge
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.compression import ranker_pairs
from lifecycle.training.scoring import TowerSimilarity
from ranker.final import SPEC_FILE
from ranker.ranker import Ranker
from ranker.train import compress as compression
from ranker.train import finetune as ranker
from training.bases import BaseResolver, ResolvedBase
from training.examples import Examples, select_split
from training.export import CHECKPOINT, base_location, is_cross_encoder
from training.known_bases import BaseKind
from training.settings import TrainingSettings

ENCODER, RANKER, FINAL, STAGES = "encoder", "ranker", "final", "stages"


def run_recipe(
    recipe: Recipe,
    data: Path,
    output: Path,
    steps: Steps,
    tracker: Tracker,
    base: str | None = None,
    stages: Path | None = None,
    notify: Callable[[str], None] = lambda line: None,
    resolver: BaseResolver | None = None,
) -> tuple[Path, ...]:
    """Leaves `encoder` in `output`, `ranker` where the recipe trains one, and what was before them in `stages`, by
    default a folder of it. Returns the folders of the models.

    Learns as much as the recipe's `minutes` leave time for on this machine, and prints a line when that is not all.
    `base` is what both start from, in place of the recipe's bases, of which the first that `resolver` can have is
    taken, else the packaged model. Sources of the final stage are no part of the stages before: several outputs whose
    final stages differ may share `stages`. Raises FeedError or ModelError.
    """
    bases = _resolved(recipe, base, resolver or BaseResolver())
    if recipe.ranker and recipe.ranker_from == "cross-encoder" and not is_cross_encoder(bases["ranker"].location):
        recipe = recipe.without_ranker()
        notify(
            f"no cross-encoder: one that starts from {bases['ranker'].name} ranks shops that it has not seen no better "
            "than fusion does, so the models have none (--ranker trains it)"
        )
    for kind, start in bases.items():
        named = start.location or start.passed  # else the recipe asks for the packaged model
        for line in start.lines if named and kind in recipe.models else start.passed:
            notify(line)
    after = output / STAGES
    before = stages or after
    sets = read_sets(recipe.sources, data, recipe.towers.seed, steps)
    pacer = Pacer(recipe, before, after, bases["encoder"].location, notify)
    trainings = _Trainings(StageRunner(pacer, steps, tracker, bases), sets, before, after)
    towers = trainings.towers((before if recipe.final_stage else output) / ENCODER)
    teacher = None
    if recipe.ranker:
        last = None if recipe.final_stage or recipe.compression else output / RANKER
        teacher = trainings.ranker(last or before / "teacher", towers)
    if recipe.final_stage:
        towers = trainings.final_towers(output / ENCODER, towers)
        if teacher:
            last = after / "late-teacher" if recipe.compression else output / RANKER
            teacher = trainings.final_ranker(last, towers, teacher)
    if teacher and recipe.compression:
        trainings.compress(output / RANKER, towers, teacher)
    pacer.finish()
    if recipe.final:
        trainings.final_score(data, output, notify)
    return tuple(output / name for name in recipe.models if name != FINAL or (output / FINAL / SPEC_FILE).is_file())


def _resolved(recipe: Recipe, base: str | None, resolver: BaseResolver) -> dict[BaseKind, ResolvedBase]:
    """What each model of the recipe starts from."""
    preferences: dict[BaseKind, tuple[str, ...]] = {"encoder": recipe.encoder_bases, "ranker": recipe.ranker_bases}
    bases: dict[BaseKind, ResolvedBase] = {}
    for kind, names in preferences.items():
        if kind not in recipe.models:
            continue
        bases[kind] = resolver.need(base, kind) if base else resolver.resolve(names, kind)
    return bases


@dataclass(frozen=True)
class _Trainings:
    """A recipe's trainings over the sets; `before` and `after` are the folders of stages before and of the final one.

    Products are retrieved with each model anew (`found-1` by BM25, then by the towers in their order): models are
    validated among them.
    """

    runner: StageRunner
    sets: Sequence[TrainingSet]
    before: Path
    after: Path

    @property
    def recipe(self) -> Recipe:
        """With as much of the stages begun as there is time for."""
        return self.runner.recipe

    def towers(self, output: Path) -> Path:
        """One round of towers, or two; the last is left in `output`."""
        recipe, early = self.runner.pacer.start("towers"), self._early
        judgments = pa.concat_tables([self._varied(mixed(early)), *(entry.generated for entry in early)])
        retrieved = self.runner.retrieve(self.before / "found-1", early, None)
        first = self.before / "first-round" if recipe.second_round else output
        training = Round("encoder", first, early, self._from_base("encoder", recipe.towers), inputs=retrieved)
        self.runner.train(training, encoder.FINE_TUNING, make_examples(early, judgments, {}, retrieved))
        if recipe.second_round is None:
            return first
        second = self.runner.pacer.start("second_round").second_round
        assert second is not None, "a stage is shortened, never left out"
        negatives = self.runner.mine(self.before / "mined-1", early, first, recipe.towers.seed)
        retrieved = self.runner.retrieve(self.before / "found-2", early, first)
        base = {"base": str(first / CHECKPOINT), "keep_of": base_location(self.runner.bases["encoder"].location)}
        training = Round("encoder", output, early, second.model_copy(update=base), (first,), [negatives, retrieved])
        return self.runner.train(training, encoder.FINE_TUNING, make_examples(early, judgments, negatives, retrieved))

    def ranker(self, output: Path, towers: Path) -> Path:
        """The cross-encoder, on judgments and on what the towers retrieve."""
        recipe, early = self.runner.pacer.start("ranker"), self._early
        assert recipe.ranker is not None, "called for recipes with a ranker"
        negatives, retrieved = self._early_negatives(towers), self._early_retrieved(towers)
        settings = self._from_base("ranker", recipe.ranker)
        training = Round("ranker", output, early, settings, (towers,), [negatives, retrieved])
        examples = self._beside(towers, make_examples(early, mixed(early), negatives, retrieved))
        return self.runner.train(training, ranker.FINE_TUNING, examples)

    def final_towers(self, output: Path, towers: Path) -> Path:
        """The towers, trained on the sources of the final stage too."""
        final = self.runner.pacer.start("final_stage").final_stage
        assert final is not None, "called for recipes with a final stage"
        judgments = self._varied(mixed(self.sets, final, self.recipe.towers.seed))
        negatives, retrieved = self._early_negatives(towers), self._final_retrieved("found-4", towers)
        settings = final.towers.model_copy(update={"base": str(towers / CHECKPOINT)})
        training = Round("encoder", output, self.sets, settings, (towers,), [negatives, retrieved])
        examples = make_examples(self.sets, judgments, negatives, retrieved)
        return self.runner.train(training, encoder.FINE_TUNING, examples)

    def final_ranker(self, output: Path, towers: Path, teacher: Path) -> Path:
        """The cross-encoder, trained on the final sources too, and on what their own towers retrieve of the others."""
        final = self.recipe.final_stage
        assert final is not None, "called for recipes with a final stage"
        judgments = mixed(self.sets, final, self.recipe.towers.seed)
        mined = self.runner.mine(self.after / "mined-3", self._final, towers, self.recipe.towers.seed + 2)
        negatives = merge([mined, self._early_negatives(self._early_towers)])
        retrieved = self._final_retrieved("found-5", towers)
        settings = final.ranker.model_copy(update={"base": str(teacher / CHECKPOINT)})
        training = Round("ranker", output, self.sets, settings, (towers, teacher), [negatives, retrieved])
        examples = self._beside(towers, make_examples(self.sets, judgments, negatives, retrieved))
        return self.runner.train(training, ranker.FINE_TUNING, examples)

    def compress(self, output: Path, towers: Path, teacher: Path) -> Path:
        """The cross-encoder to serve, a student of the larger one."""
        settings = self.runner.pacer.start("student").compression
        assert settings is not None, "a stage is shortened, never left out"
        retrieved = (
            self._final_retrieved("found-5", towers) if self.recipe.final_stage else self._early_retrieved(towers)
        )
        inputs = [settings.candidates, settings.final_candidates, retrieved]
        training = Round("ranker", output, self.sets, settings.student, (towers, teacher), inputs)
        if self.runner.is_done(training):
            return output
        pairs, student = _drawn(self._student_pairs(settings, self.runner.similarity(towers)), settings.student)
        with self.runner.steps.step("ask the teacher") as report:
            compression.compute_teacher_logits(Ranker.open(teacher), pairs, output, student.threads, report)
        examples = self._beside(towers, make_examples(self.sets, mixed(self.sets), {}, retrieved))
        return self.runner.train(
            training, compression.DISTILLATION, compression.DistillationPairs(examples, teacher, pairs), student
        )

    def final_score(self, data: Path, output: Path, notify: Callable[[str], None]) -> None:
        """The final score of all sources over the models in `output`; a line where too little is there for one."""
        ranker_folder = output / RANKER if self.recipe.ranker else None
        models = (output / ENCODER, ranker_folder)
        steps, work = self.runner.steps, self.after / "shops"
        learn = partial(learn_of_sources, self.recipe, data, models, work, steps)
        try:
            self.runner.learn_final(output / FINAL, self.sets, [folder for folder in models if folder], learn)
        except FeedError as error:
            notify(f"no final score: {error}")

    @property
    def _early(self) -> list[TrainingSet]:
        return [entry for entry in self.sets if not entry.source.final_only]

    @property
    def _final(self) -> list[TrainingSet]:
        return [entry for entry in self.sets if entry.source.final_only]

    @property
    def _early_towers(self) -> Path:
        """Those that a final stage goes on from."""
        return self.before / ENCODER

    def _from_base(self, kind: BaseKind, settings: TrainingSettings) -> Any:
        return settings.model_copy(update=self.runner.bases[kind].settings)

    def _varied(self, judgments: pa.Table) -> pa.Table:
        return varied(judgments, self.recipe.augmentation) if self.recipe.augmentation else judgments

    def _beside(self, towers: Path, examples: Examples) -> Examples:
        """The examples of a cross-encoder that serves beside these towers."""
        return replace(examples, similarity=self.runner.similarity(towers))

    def _early_negatives(self, towers: Path) -> Products:
        return self.runner.mine(self.before / "mined-2", self._early, towers, self.recipe.towers.seed + 1)

    def _early_retrieved(self, towers: Path) -> Products:
        return self.runner.retrieve(self.before / "found-3", self._early, towers)

    def _final_retrieved(self, name: str, towers: Path) -> Products:
        """By the towers for the final sources; for the others by their own, from which these hardly differ there."""
        final = self.runner.retrieve(self.after / name, self._final, towers)
        return merge([final, self._early_retrieved(self._early_towers)])

    def _student_pairs(self, settings: Compression, similarity: TowerSimilarity) -> list[tuple[str, str]]:
        """Each source's train queries, with products of its own catalog."""
        pairs: list[tuple[str, str]] = []
        for entry in self.sets:
            if len(entry.judgments):
                train = select_split(entry.judgments, entry.texts, "train")
                candidates = settings.final_candidates if entry.source.final_only else settings.candidates
                with self.runner.steps.step(f"find products of {entry.source.name} to ask of") as report:
                    pairs += ranker_pairs(train, entry.products, candidates, similarity)
                    report(len(pairs), len(pairs))
        return list(dict.fromkeys(pairs))


def _drawn(pairs: list[tuple[str, str]], settings: Any) -> tuple[list[tuple[str, str]], Any]:
    """The sampled pairs of less than an epoch, and settings of one epoch over them: the teacher scores no
    others.
    """
    if settings.epochs >= 1:
        return pairs, settings
    random = np.random.default_rng(settings.seed)
    sampled = np.sort(random.permutation(len(pairs))[: math.ceil(len(pairs) * settings.epochs)])
    return [pairs[place] for place in sampled], settings.model_copy(update={"epochs": 1.0})
