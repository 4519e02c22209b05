"""Runs an adaptation: read → queries → candidates → labels → fit → check → record. Loads torch.

Nothing takes the place of the output before it is whole, so that an interrupted run leaves what was there.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.durable import whole_folder
from core.plan import Plan
from core.progress import Steps
from encoder.bi_encoder import BiEncoder
from encoder.bundled import export_bundled
from lifecycle.adapt.candidates import ServedWords, Towers
from lifecycle.adapt.check import HeldOut, check_adapted
from lifecycle.adapt.fit import EnsembleScores, affordable_steps, fit_towers, make_examples, training_settings
from lifecycle.adapt.inputs import AdaptInputs
from lifecycle.adapt.labels import RANKER as RANKER_VOTER
from lifecycle.adapt.labels import Labels, label_queries, vote, voter_quality
from lifecycle.adapt.queries import QuerySplit, make_queries, split_queries
from lifecycle.adapt.ranker_stage import RankerStage
from lifecycle.adapt.record import (
    ENCODER,
    FINAL,
    RANKER,
    AdaptReport,
    check_output,
    gather_models,
    is_done,
    write_report,
)
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import UnjudgedShop, read_shop
from lifecycle.adapt.voters import TOWERS, Ballot, RankerVote, ask_ranker, ask_voters, read_queries
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.record import new_lineage
from lifecycle.training.scoring import Teacher
from training.export import base_name

# Of the minutes, what embedding products before and after may take, and what is left for export and check.
_EMBEDDING, _REST = 0.4, 0.08
# Where there is a cross-encoder: what its vote may take, and what is left for its training and check.
_VOTE, _RANKER = 0.08, 0.25
_PACED_TEXTS = 256
_LEAST_HELD_OUT = 20

Notify = Callable[[str], None]


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
    inputs.check()
    check_output(output, inputs.start)
    base = inputs.base()
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
            return self._gathered(report.model_copy(update={"reasons": [problem]}), start)
        with self.clock.stage("embed"):
            towers = self._towers(start, shop)
        with self.clock.stage("label"):
            words = ServedWords(shop, BiEncoder.open(start / ENCODER))
            train, held = self._ballots(words, towers, split)
            quality = voter_quality(train.queries, train.pools)
            ranker_vote = self._ask_ranker(train, held, quality, shop)
            if ranker_vote and ranker_vote.counts:
                train, held, quality = (
                    ranker_vote.train,
                    ranker_vote.held_out,
                    quality | {RANKER_VOTER: ranker_vote.quality},
                )
            labels, held_labels = vote(train.pools, quality), vote(held.pools, quality)
        report = report.model_copy(update=_opinions(labels, quality, ranker_vote))
        held_out = HeldOut(held.queries, held.read, words, held.pools, held_labels)
        report, kept = self._adapt_towers(report, shop, train, labels, held_out, towers[TOWERS])
        if ranker_vote:
            with self.clock.stage("ranker"):
                ranker = self._ranker_stage(report, shop, train, labels, held_out, kept, ranker_vote.pace)
                chosen = ranker.run(self.steps, self.tracker).model_copy(update={"queries": ranker_vote.queries})
            report = report.model_copy(update={"ranker": chosen})
        return self._gathered(report, start)

    def _adapt_towers(
        self,
        report: AdaptReport,
        shop: UnjudgedShop,
        train: Ballot,
        labels: Labels,
        held_out: HeldOut,
        before: Towers,
    ) -> tuple[AdaptReport, Towers]:
        """The towers that may serve: adapted, in the folder, or those before."""
        with self.clock.stage("fit"):
            report, reason = self._fit(report, shop, train, labels, held_out)
        if reason:
            return report.model_copy(update={"reasons": [reason]}), before
        with self.clock.stage("check"):
            with self.steps.step("embed the products anew") as progress:
                after = Towers(self.folder / ENCODER, shop.texts, progress)
            report = report.checked(check_adapted(held_out, before, after))
        return report, after if report.accepted else before

    def _ask_ranker(
        self, train: Ballot, held_out: Ballot, quality: dict[str, float], shop: UnjudgedShop
    ) -> RankerVote | None:
        """The cross-encoder's vote, where the start has one."""
        if self.inputs.ranker is None:
            return None
        seconds = _VOTE * self.clock.minutes * 60
        with self.steps.step("ask the cross-encoder"):
            return ask_ranker(train, held_out, quality, Teacher(self.inputs.ranker), shop.texts, seconds)

    def _ranker_stage(
        self,
        report: AdaptReport,
        shop: UnjudgedShop,
        train: Ballot,
        labels: Labels,
        held_out: HeldOut,
        towers: Towers,
        pace: float,
    ) -> RankerStage:
        assert self.inputs.ranker is not None
        data = self.inputs.shop.digests(shop.mapping) | {"adapt": report.inputs, "towers": towers.spec.digest}
        return RankerStage(
            self.inputs.ranker,
            self.inputs.ranker.parent / FINAL,
            self.folder / RANKER,
            shop,
            held_out.words,
            towers,
            report.accepted,
            train,
            labels,
            held_out,
            self.settings,
            self.clock.left,
            pace,
            data,
        )

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
        folders = {TOWERS: start / ENCODER} | {f"towers {path}": path for path in self.inputs.voters}
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
        self, report: AdaptReport, shop: UnjudgedShop, train: Ballot, labels: Labels, held_out: HeldOut
    ) -> tuple[AdaptReport, str | None]:
        """The towers of as many steps as there is time for, in the folder; or why there are none."""
        scores = (
            EnsembleScores.collect(train.queries, train.pools, labels, shop.texts) if self.settings.distil else None
        )
        examples = make_examples(
            shop,
            label_queries(train.queries, train.pools, labels),
            label_queries(held_out.queries, held_out.pools, held_out.labels),
            scores if self.settings.distil else None,
        )
        if not examples.train.queries or not examples.valid.queries:
            return report, "the voters agree on too few queries"
        wanted = training_settings(self.base, self._shared, self.settings)
        rest = _REST + (_RANKER if self.inputs.ranker else 0.0)
        left = self.clock.left() - self.clock.seconds["embed"] - rest * self.clock.minutes * 60
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

    def _gathered(self, report: AdaptReport, start: Path) -> AdaptReport:
        """The whole output: adapted models, and those of the start in place of what was not."""
        notes = gather_models(start, self.folder, report)
        shutil.rmtree(self.folder / "start", ignore_errors=True)
        return report.model_copy(update={"notes": [*report.notes, *notes]})


def _opinions(labels: Labels, quality: dict[str, float], ranker_vote: RankerVote | None) -> dict[str, dict[str, float]]:
    """For the report, with a cross-encoder that has no vote."""
    voters, qualities = dict(labels.weights), dict(quality)
    if ranker_vote and not ranker_vote.counts:
        voters[RANKER_VOTER], qualities[RANKER_VOTER] = 0.0, ranker_vote.quality
    return {"voters": voters, "quality": qualities}


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
