"""Runs an adaptation: read → queries → candidates → labels → fit → check → record. Loads torch.

Nothing takes the place of the output before it is whole, so that an interrupted run leaves what was there.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from core.digest import value_digest
from core.durable import whole_folder
from core.errors import ModelError
from core.plan import Plan
from core.progress import Steps
from encoder.bi_encoder import SPEC_FILE, BiEncoder
from encoder.bundled import export_bundled
from engine.lexical.index import FORMAT
from lifecycle.adapt.candidates import ServedWords, Towers
from lifecycle.adapt.check import HeldOut, check_adapted
from lifecycle.adapt.fit import EnsembleScores, affordable_steps, fit_towers, make_examples, training_settings
from lifecycle.adapt.labels import Labels, label_queries, vote, voter_quality
from lifecycle.adapt.queries import QuerySplit, make_queries, split_queries
from lifecycle.adapt.record import (
    ENCODER,
    FINAL,
    RANKER,
    AdaptReport,
    check_output,
    copy_models,
    is_done,
    write_report,
)
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import ShopFiles, UnjudgedShop, read_shop
from lifecycle.adapt.voters import Ballot, ask_voters, read_queries
from lifecycle.feeds import read_mapping
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.record import new_lineage
from ranker.final import FinalSpec
from training.export import CHECKPOINT, base_name

# Of the minutes, what embedding products before and after may take, and what is left for export and check.
_EMBEDDING, _REST = 0.4, 0.08
_PACED_TEXTS = 256
_LEAST_HELD_OUT = 20

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AdaptInputs:
    """What to adapt: a shop's files, the folder of models to start from (None: the bundled towers), further voters."""

    shop: ShopFiles
    start: Path | None = None
    voters: Sequence[Path] = ()

    def stamp(self, settings: AdaptSettings) -> str:
        """A digest of all that the result depends on. Raises FeedError or ModelError."""
        towers = [BiEncoder.open(folder).digest for folder in (*self._encoder, *self.voters)]
        further = [_folder_state(self.start / name) for name in (RANKER, FINAL)] if self.start else []
        digests = self.shop.digests(read_mapping(self.shop.mapping))
        return value_digest([digests, towers, further, settings.model_dump(), FORMAT, version("tandem-retrieval")])

    @property
    def _encoder(self) -> list[Path]:
        return [self.start / ENCODER] if self.start else []


@dataclass
class _Clock:
    """The time of the stages, and what is left of the whole."""

    minutes: float
    began: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)

    def left(self) -> float:
        return self.minutes * 60 - (time.monotonic() - self.began)


def adapt_models(
    inputs: AdaptInputs, output: Path, settings: AdaptSettings, steps: Steps, tracker: Tracker, notify: Notify
) -> AdaptReport:
    """Leaves models and `report.json` in `output`: adapted ones, or where the check refuses them those of the start.

    With the same inputs as before nothing is done again. Raises FeedError or ModelError.
    """
    inputs.shop.check()
    check_output(output, inputs.start)
    base = _base(inputs.start)
    inputs_digest = inputs.stamp(settings)
    if done := is_done(output, inputs_digest):
        notify(f"{output} holds the result of the same inputs")
        return done
    clock = _Clock(settings.minutes)
    with clock.stage("read"):
        shop = read_shop(inputs.shop, settings.products, steps)
    with whole_folder(output) as folder:
        report = AdaptReport(
            inputs=inputs_digest, accepted=False, reasons=[], products=shop.products, searched=0, queries={}
        )
        report = _Adaptation(inputs, base, folder, settings, steps, tracker, clock).run(shop, report)
        report = report.model_copy(update={"seconds": clock.seconds})
        write_report(folder, report)
    return report


@dataclass(frozen=True)
class _Adaptation:
    """One run in a folder of its own."""

    inputs: AdaptInputs
    base: str | None
    folder: Path
    settings: AdaptSettings
    steps: Steps
    tracker: Tracker
    clock: _Clock

    def run(self, whole: UnjudgedShop, report: AdaptReport) -> AdaptReport:
        """The stages, each of what the one before left."""
        start = self._start_models()
        with self.clock.stage("candidates"):
            shop = self._affordable(whole, start)
            split = split_queries(make_queries(shop.rows, shop.language, shop.log, self.settings), self.settings)
        report = report.model_copy(update={"searched": len(shop.texts), "queries": _counts(split)})
        if problem := _too_little(split):
            return self._refused(report, start, [problem])
        with self.clock.stage("embed"):
            towers = self._towers(start, shop)
        with self.clock.stage("label"):
            words = ServedWords(shop, BiEncoder.open(start / ENCODER))
            train, held_out = self._ballots(words, towers, split)
            quality = voter_quality(train.queries, train.pools)
            labels, held_labels = vote(train.pools, quality), vote(held_out.pools, quality)
        report = report.model_copy(update={"voters": dict(labels.weights), "quality": quality})
        with self.clock.stage("fit"):
            report, reason = self._fit(report, shop, train, labels, held_out, held_labels)
        if reason:
            return self._refused(report, start, [reason])
        with self.clock.stage("check"):
            with self.steps.step("embed the products anew") as progress:
                after = Towers(self.folder / ENCODER, shop.texts, progress)
            held = HeldOut(held_out.queries, held_out.read, words, held_out.pools, held_labels)
            report = report.checked(check_adapted(held, next(iter(towers.values())), after))
        if not report.accepted:
            return self._refused(report, start, report.reasons)
        return self._accepted(report, start)

    def _start_models(self) -> Path:
        """The folder of the models to start from; the bundled towers are exported into the output's own."""
        if self.inputs.start is not None:
            return self.inputs.start
        folder = self.folder / "start"
        with self.steps.step("export the bundled towers"):
            export_bundled(folder / ENCODER)
        return folder

    @property
    def _shared(self) -> bool:
        """Whether the towers to start from are one model."""
        if self.inputs.start is None:
            return True
        spec = BiEncoder.open(self.inputs.start / ENCODER).spec
        return spec.query_model == spec.item_model

    def _affordable(self, shop: UnjudgedShop, start: Path) -> UnjudgedShop:
        """The shop with as many products as all towers can embed in their share of the time."""
        some = shop.sample(_PACED_TEXTS)
        began = time.monotonic()
        Towers(start / ENCODER, some.texts)
        each = (time.monotonic() - began) / len(some.texts)
        turns = 2 + len(self.inputs.voters)
        return shop.sample(max(_PACED_TEXTS, int(self.clock.minutes * 60 * _EMBEDDING / (each * turns))))

    def _towers(self, start: Path, shop: UnjudgedShop) -> dict[str, Towers]:
        """Those of the start first, then further voters, by name."""
        folders = {"towers": start / ENCODER} | {f"towers {path}": path for path in self.inputs.voters}
        result = {}
        for name, folder in folders.items():
            with self.steps.step("embed the products") as progress:
                result[name] = Towers(folder, shop.texts, progress)
        return result

    def _ballots(self, words: ServedWords, towers: dict[str, Towers], split: QuerySplit) -> tuple[Ballot, Ballot]:
        held_out = split.held_out[: self.settings.measured]
        queries = [*held_out, *split.train]
        read = read_queries(words, queries, Plan().lexical_candidates, self.steps)
        with self.steps.step("ask the voters"):
            train = ask_voters(words, towers, split.train, read[len(held_out) :])
            return train, ask_voters(words, towers, held_out, read[: len(held_out)])

    def _fit(
        self, report: AdaptReport, shop: UnjudgedShop, train: Ballot, labels: Labels, held_out: Ballot, held: Labels
    ) -> tuple[AdaptReport, str | None]:
        """The towers of as many steps as there is time for, in the folder; or why there are none."""
        scores = (
            EnsembleScores.collect(train.queries, train.pools, labels, shop.texts) if self.settings.distil else None
        )
        examples = make_examples(
            shop,
            label_queries(train.queries, train.pools, labels),
            label_queries(held_out.queries, held_out.pools, held),
            scores if self.settings.distil else None,
        )
        if not examples.train.queries or not examples.valid.queries:
            return report, "the voters agree on too few queries"
        wanted = training_settings(self.base, self._shared, self.settings)
        left = self.clock.left() - self.clock.seconds["embed"] - _REST * self.clock.minutes * 60
        possible = affordable_steps(self.base, shop.texts, self.settings, left)
        if possible < self.settings.least_steps:
            return (
                report,
                f"{self.settings.minutes:g} minutes leave time for {max(possible, 0)} steps; give more --minutes",
            )
        # The pace may fall after it was measured: the clock ends the training too.
        wanted = wanted.model_copy(update={"max_steps": possible, "max_seconds": max(left, 1.0)})
        data = self.inputs.shop.digests(shop.mapping) | {"adapt": report.inputs}
        lineage = new_lineage("encoder", base_name(self.base), shop.mapping.catalog.name, data)
        training = fit_towers(examples, wanted, self.folder / ENCODER, lineage, self.steps, self.tracker)
        report = report.model_copy(update={"training": training, "steps": training["validation"][-1]["step"]})
        better = training["best_step"] > 0
        return report, None if better else "no step of the training ranks held-out queries better"

    def _refused(self, report: AdaptReport, start: Path, reasons: list[str]) -> AdaptReport:
        """The starting models unchanged."""
        shutil.rmtree(self.folder / ENCODER, ignore_errors=True)
        copy_models(start, self.folder)
        shutil.rmtree(self.folder / "start", ignore_errors=True)
        return report.model_copy(update={"accepted": False, "reasons": reasons})

    def _accepted(self, report: AdaptReport, start: Path) -> AdaptReport:
        """The adapted towers, with a final score that is tied to no towers, and without the cross-encoder."""
        notes = list(report.notes)
        if (start / RANKER).is_dir():
            notes.append("no ranker: that of the start was calibrated beside other towers")
        if (start / FINAL).is_dir():
            if FinalSpec.read(start / FINAL).encoder == "":
                copy_models(start, self.folder, (FINAL,))
            else:
                notes.append("no final score: that of the start belongs to its towers")
        shutil.rmtree(self.folder / "start", ignore_errors=True)
        return report.model_copy(update={"notes": notes})


def _base(start: Path | None) -> str | None:
    """The weights to train on: the checkpoint of the start, or None for the bundled ones. Raises ModelError."""
    if start is None:
        return None
    if not (start / ENCODER / SPEC_FILE).is_file():
        raise ModelError(f"{start}: holds no {ENCODER}/{SPEC_FILE}; give the folder that a recipe left as --from")
    if (start / ENCODER / CHECKPOINT).is_dir():
        return str(start / ENCODER / CHECKPOINT)
    if BiEncoder.open(start / ENCODER).spec.base == base_name(None):
        return None  # exported as they are
    raise ModelError(f"{start / ENCODER}: has no {CHECKPOINT} to train on; give a folder that `tandem train` left")


def _counts(split: QuerySplit) -> dict[str, dict[str, int]]:
    parts = {"train": split.train, "held out": split.held_out}
    return {name: dict(Counter(query.way for query in queries)) for name, queries in parts.items()}


def _too_little(split: QuerySplit) -> str | None:
    known = sum(query.row is not None for query in split.held_out)
    if not split.train or known < _LEAST_HELD_OUT:
        return (
            f"the catalog gives {len(split.train)} queries to learn from and {known} of a known product to measure by, "
            f"of {_LEAST_HELD_OUT} needed"
        )
    return None


def _folder_state(folder: Path) -> list[list[object]]:
    """What tells whether the files of a folder are the same."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
