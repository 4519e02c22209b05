"""Adapts the cross-encoder beside the towers that were kept: fit → export → check → choose."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ModelError
from core.progress import Steps
from lifecycle.adapt.candidates import ServedWords, Towers
from lifecycle.adapt.check import ALL as ALL_WAYS
from lifecycle.adapt.check import HeldOut, PairedGain, known_gains, known_grades
from lifecycle.adapt.labels import Labels, label_queries
from lifecycle.adapt.ranker_check import RankerComparison, RankerReport, choose_ranker
from lifecycle.adapt.ranker_fit import Affordable, first_orders, ranker_examples, ranker_settings, soft_labels
from lifecycle.adapt.served import Served, final_beside
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import UnjudgedShop
from lifecycle.adapt.voters import Ballot
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.record import new_lineage, train_and_record
from lifecycle.training.scoring import Teacher
from ranker.train import finetune
from ranker.train.pace import seconds_per_pair
from training.export import CHECKPOINT, base_name
from training.stages import Task

# Of the time left when it is trained, what its orders of held-out queries may take.
_CHECK = 0.25
_PACED_TEXTS = 16


@dataclass(frozen=True)
class RankerStage:
    """The cross-encoder and the final score of the start, the towers to serve beside, and what the voters said.

    `output` is the adapted one's folder, `left` gives the seconds that the whole may still take, `pace` is in pairs
    per second, `data` has the digests of the lineage.
    """

    ranker: Path
    final: Path
    output: Path
    shop: UnjudgedShop
    words: ServedWords
    towers: Towers
    towers_changed: bool
    train: Ballot
    labels: Labels
    held_out: HeldOut
    settings: AdaptSettings
    left: Callable[[], float]
    pace: float
    data: dict[str, str]

    def run(self, steps: Steps, tracker: Tracker) -> RankerReport:
        """Leaves the adapted cross-encoder in its folder where it is chosen; returns the choice, and why.

        It is validated on half of the held-out queries and chosen by the other half.
        """
        places = np.arange(len(self.held_out.queries))
        training, refused = self._fit(self.held_out.take(places[::2]), steps, tracker)
        with steps.step("check the cross-encoder"):
            report = self._choose(self.held_out.take(places[1::2]), refused)
        if report.choice != "adapted":
            shutil.rmtree(self.output, ignore_errors=True)
        return report.model_copy(update={"training": training, "pace": round(self.pace, 1)})

    def _fit(self, valid: HeldOut, steps: Steps, tracker: Tracker) -> tuple[dict[str, Any] | None, str | None]:
        """The training's report where there is one, and why the model may not serve."""
        base, left = self.ranker / CHECKPOINT, self.left()
        labelled = label_queries(self.train.queries, self.train.pools, self.labels)
        if not base.is_dir():
            return None, f"that of the start has no {CHECKPOINT} to train on"
        if not labelled.relevance:
            return None, "the voters agree on too few queries"
        each = seconds_per_pair(str(base), self.train.queries[0].text, self.shop.texts[:_PACED_TEXTS])
        affordable = Affordable.within(left, each, self.pace)
        if affordable.steps < self.settings.least_steps:
            return None, f"{self.settings.minutes:g} minutes leave time for {affordable.steps} steps of it"
        orders = first_orders(valid.queries, Served(self.words, self.towers, self.shop.texts).orders(valid.read))
        soft = soft_labels(self.train.queries, self.train.pools, self.labels, labelled)
        grades = known_grades(valid)
        examples = ranker_examples(self.shop, self.towers, soft, labelled.negatives, grades, orders, affordable.mixed)
        wanted = ranker_settings(str(base), affordable, left, self.settings)
        lineage = new_lineage("ranker", base_name(str(base)), self.shop.mapping.catalog.name, self.data)
        task = Task(examples, wanted, self.output)
        try:
            training = train_and_record(lineage, finetune.FINE_TUNING, task, "adapt the cross-encoder", steps, tracker)
        except ModelError as error:  # int8 would order otherwise, or there is nothing to order
            return None, str(error)
        return training, None if training["mix"]["share"] else _no_share(training["mix"])

    def _choose(self, held_out: HeldOut, refused: str | None) -> RankerReport:
        """By as many of the queries as there is time for."""
        towers, original = self.towers.spec.digest, Teacher(self.ranker)
        without = Served(self.words, self.towers, self.shop.texts, None, final_beside(self.final, towers, None))
        before = replace(without, ranker=original, final=final_beside(self.final, towers, original.ranker))
        after = None
        if refused is None:
            adapted = Teacher(self.output)
            own = final_beside(self.final, towers, adapted.ranker, rescoring=True)
            after = replace(without, ranker=adapted, final=own)
        pairs = before.depth + (after.depth if after else 0)
        most = int(_CHECK * max(self.left(), 0.0) * self.pace / max(pairs, 1)) if pairs else len(held_out.queries)
        some = held_out.take(np.arange(min(most, len(held_out.queries))))
        return _compared(some, without, before, after, refused, self.towers_changed)


def _no_share(mix: dict[str, Any]) -> str:
    """Why its order counts nothing beside the one in which candidates are found; of the report by `mix_report`."""
    gain = mix["gain"]
    return (
        f"beside the order of fusion even its best share ({mix['measured share']:g}) does not surely gain on held-out "
        f"queries ({gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}], {mix['queries']} queries)"
    )


def _compared(
    held_out: HeldOut, without: Served, before: Served, after: Served | None, refused: str | None, towers_changed: bool
) -> RankerReport:
    plain, first = without.orders(held_out.read), before.orders(held_out.read)
    original = RankerComparison.measure(held_out, plain, first)
    adapted: RankerComparison | str = refused or ""
    over: PairedGain | None = None
    if after is not None:
        second = after.orders(held_out.read)
        adapted = RankerComparison.measure(held_out, plain, second)
        over = known_gains(held_out, first, second).get(ALL_WAYS)
    choice, reason = choose_ranker(adapted, original, over, towers_changed)
    measured = None if isinstance(adapted, str) else adapted
    return RankerReport(
        choice=choice,
        reason=reason,
        known=dict(measured.known) if measured else {},
        agreement=measured.agreement if measured else None,
        original=original.known.get(ALL_WAYS),
        over_original=over,
    )
