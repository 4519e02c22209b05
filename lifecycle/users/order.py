"""Learns the order of candidates from what users bought next, at moments that lie before those that measure it."""

from collections.abc import Iterator, Sequence

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from core.errors import FeedError
from core.progress import Report, ignore
from lifecycle.users.people import Candidates, Lists, People
from lifecycle.users.settings import UserTraining
from ranker.recommendation_features import RECOMMENDATION_NAMES
from ranker.train.recommendation import TreeSettings, UserTable, learn_order

_NEGATIVES = 80  # candidates of a user that were not bought, drawn of all


def examples_of(
    lists: Lists, people: People, most: int, random: np.random.Generator, report: Report = ignore
) -> Iterator[UserTable]:
    """Tables of users one of whose candidates was bought, of at most so many users with a history.

    Those without one get what is popular, by its counts: trees over them all rank that worse.
    """
    known = random.permutation(np.flatnonzero(people.known))[:most]
    chosen = people.take(np.sort(known))
    for done, (candidates, taken) in enumerate(zip(lists.candidates(chosen), chosen.taken, strict=True), 1):
        bought = np.isin(candidates.rows, taken)
        report(done, len(chosen))
        if bought.any():
            yield _thinned(candidates, bought, random)


def _thinned(candidates: Candidates, bought: NDArray[np.bool_], random: np.random.Generator) -> UserTable:
    others = random.permutation(np.flatnonzero(~bought))[:_NEGATIVES]
    kept = np.sort(np.concatenate([np.flatnonzero(bought), others]))
    return UserTable(candidates.features[kept], bought[kept])


def fit_order(tables: Sequence[UserTable], settings: UserTraining) -> lgb.Booster:
    """Trees over all features. Raises FeedError where too few users bought any of their candidates."""
    if len(tables) < 2 * _FEWEST:
        raise FeedError(
            f"the order of candidates cannot be learned: only {len(tables):,} users bought one of theirs in the days "
            "to learn from; give more days of behaviour"
        )
    trees = TreeSettings(
        settings.leaves, settings.least, settings.rounds, settings.boosting_rate, settings.threads, settings.seed
    )
    return learn_order(tables, RECOMMENDATION_NAMES, trees)


_FEWEST = 5
