"""`tandem train users`: sources, user tower and order of recommendations, learned from behaviour and measured.

The latest days of the file (`held_out_days`) measure all that is learned from what lies before them. The order of
candidates is learned from the windows before those. What is written has the sources counted once more over the whole
file; tower and order are those that were measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.durable import whole_folder
from core.errors import FeedError
from core.progress import Steps
from encoder.users.tower import UserTower
from lifecycle.users.events import BehaviourReport, Behaviours, read_behaviour
from lifecycle.users.learned import Learned, learn_behaviour
from lifecycle.users.measure import Measured, measure
from lifecycle.users.people import Lists, Nearest, exact_search, people_at
from lifecycle.users.settings import UserTraining
from lifecycle.users.shop import UserShop
from ranker.recommendation import RecommendationScore, RecommendationSpec
from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.recommend.behaviour import DAY, FINAL, TOWER

_WINDOWS = 2  # before the held-out days, to learn the order from
_FEWEST_EXAMPLES = 200  # next products, below which no tower is trained


@dataclass(frozen=True, slots=True)
class BehaviourFile:
    """A file of behaviour; `columns` are `field=column`, `forget` tells the users to leave out."""

    path: Path
    columns: tuple[str, ...] = ()
    forget: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class UserTrainingResult:
    """What was read, what was measured on the held-out days, and the report that is written."""

    counts: BehaviourReport
    measured: Measured
    report: dict[str, Any]


def train_users(
    shop: UserShop, file: BehaviourFile, output: Path, settings: UserTraining, now: float, steps: Steps
) -> UserTrainingResult:
    """Learns from the file and writes a folder `users`. Raises FeedError where there is too little to learn from."""
    with steps.step("read behaviour") as report:
        events, counts = read_behaviour(file.path, shop.ids, file.columns, file.forget, now, report)
    nearest = exact_search(shop.vectors)
    with whole_folder(output) as folder:
        models = learn_models(events, shop, nearest, folder, settings, steps)
        report_of_all = {"behaviour": counts.summary(), "settings": settings.model_dump(mode="json"), **models.report}
        with steps.step("count behaviour"):
            learn_behaviour(events, shop, settings, folder, report_of_all)
    return UserTrainingResult(counts, models.measured, report_of_all)


@dataclass(frozen=True, slots=True)
class LearnedModels:
    """Tower and order beside the sources of the days before the held-out ones, and what they measure there."""

    learned: Learned
    lists: Lists
    tower: UserTower | None
    order: RecommendationScore
    measured: Measured
    report: dict[str, Any]


def learn_models(
    events: Behaviours, shop: UserShop, nearest: Nearest, folder: Path, settings: UserTraining, steps: Steps
) -> LearnedModels:
    """Trains tower and order into the folder, on the events before the held-out days, and measures them on those.

    Raises FeedError where the file has too few days.
    """
    from threadpoolctl import threadpool_limits

    end = float(events.time.max()) + 1
    held_out, windows = split_times(events, settings)
    before = events.take(events.time < held_out)
    # Small products of matrices: several threads of BLAS would wait for each other.
    with TemporaryDirectory(dir=folder.parent) as scratch, threadpool_limits(1, "blas"):
        tower, tower_report = train_tower(before, windows, shop, folder / TOWER, settings, steps)
        order = _train_order(before, windows, shop, nearest, tower, folder / FINAL, Path(scratch), settings, steps)
        with steps.step("measure") as report:
            learned = learn_behaviour(before, shop, settings, Path(scratch) / "measured")
            lists = Lists(shop, learned, tower, nearest, settings, not shop.has_prices)
            people = people_at(events, held_out, end)
            measured = measure(lists, learned, people, order.scores, report)
    summary = {"held out": measured.summary(), "tower": tower_report}
    return LearnedModels(learned, lists, tower, order, measured, summary)


def split_times(events: Behaviours, settings: UserTraining) -> tuple[float, list[float]]:
    """When the held-out days begin, and when each window to learn from does, the latest first; in seconds.

    Days are counted back from midnight (UTC) after the last event, so that a file of dates is cut between dates.
    Raises FeedError where nothing lies before the last window.
    """
    midnight = (np.floor(float(events.time.max()) / DAY) + 1) * DAY
    held_out = midnight - settings.held_out_days * DAY
    begins = [held_out - number * settings.label_days * DAY for number in range(1, _WINDOWS + 1)]
    windows = [begin for begin in begins if events.time.min() < begin]
    if not windows:
        raise FeedError(
            f"the behaviour spans {(events.time.max() - events.time.min()) / DAY:.1f} days: it has to begin before the "
            f"{settings.label_days:g} days to learn from and the {settings.held_out_days:g} to measure on"
        )
    return float(held_out), windows


def train_tower(
    before: Behaviours, windows: list[float], shop: UserShop, folder: Path, settings: UserTraining, steps: Steps
) -> tuple[UserTower | None, dict[str, Any]]:
    """Trains the user tower; None where that is off, where there is too little, or where the mean of a history
    retrieves as much. What the order is learned from, the tower does not see."""
    if not settings.tower:
        return None, {"left out": "switched off"}
    from encoder.train.user_export import example_histories, export_user_tower
    from encoder.train.user_fit import UserFit, UserSequences, fit_user_tower
    from training.loop import torch_threads

    kept = before.take(~_learned_from(before, min(windows)))
    starts = np.flatnonzero(np.append(True, np.diff(kept.user) != 0))
    sequences = UserSequences(
        shop.vectors.astype(np.float32), kept.product.astype(np.int64), kept.time / DAY, kept.action, starts
    )
    examples = sequences.examples()
    if len(examples) < _FEWEST_EXAMPLES:
        return None, {"left out": f"{len(examples)} examples are too few"}
    names = ("width", "layers", "heads", "dropout", "epochs", "steps", "batch_size", "negatives", "learning_rate")
    knobs = {name: getattr(settings, name) for name in (*names, "seed")}
    most = min(settings.most_history, settings.tower_history)
    with steps.step("train user tower") as report, torch_threads(settings.threads or None):
        fitted = fit_user_tower(sequences, UserFit(most_history=most, **knobs), report)
        if not fitted.gains:
            return None, {"left out": "the mean of a history retrieves as much", **fitted.report}
        drawn = np.random.default_rng(settings.seed).permutation(examples)[:512]
        histories = example_histories(sequences.vectors, sequences.histories(drawn, most))
        parity = export_user_tower(fitted.model, histories, shop.encoder, most, fitted.report, folder)
    return UserTower.open(folder), fitted.report | {"int8": parity}


def _learned_from(before: Behaviours, begin: float) -> NDArray[np.bool_]:
    """The events since `begin` of users with a history before it: the order is learned from these."""
    first = np.full(before.users, np.inf)
    np.minimum.at(first, before.user, before.time)
    return (before.time >= begin) & (first[before.user] < before.time)


def _train_order(
    before: Behaviours,
    windows: list[float],
    shop: UserShop,
    nearest: Nearest,
    tower: UserTower | None,
    folder: Path,
    scratch: Path,
    settings: UserTraining,
    steps: Steps,
) -> RecommendationScore:
    from lifecycle.users.order import examples_of, fit_order
    from ranker.train.recommendation import write_order

    paid = not shop.has_prices
    random = np.random.default_rng(settings.seed)
    tables = []
    for number, begin in enumerate(windows):
        with steps.step(f"candidates, window {number + 1}") as report:
            earlier = before.take(before.time < begin)
            learned = learn_behaviour(earlier, shop, settings, scratch / f"window{number}")
            lists = Lists(shop, learned, tower, nearest, settings, paid)
            people = people_at(before, begin, begin + settings.label_days * DAY)
            tables += list(examples_of(lists, people, settings.examples // len(windows), random, report))
    with steps.step("learn the order"):
        booster = fit_order(tables, settings)
    spec = RecommendationSpec(
        features=RECOMMENDATION_NAMES,
        limits=settings.limits,
        prices="paid" if paid else "catalog",
        encoder=shop.encoder,
        report={"users": len(tables), "trees": booster.num_trees()},
    )
    write_order(folder, spec, booster)
    return RecommendationScore.open(folder)
