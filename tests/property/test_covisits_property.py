"""Bought together, against a plain loop over baskets; and candidates' features, which depend on no other candidate."""

from collections import defaultdict
from itertools import permutations
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from behaving import baskets_of
from hypothesis import given, settings
from hypothesis import strategies as st
from recommending import make_behaviour

from lifecycle.users.covisits import count_covisits
from lifecycle.users.settings import UserTraining
from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.recommend.behaviour import DAY
from retrieval.recommend.features import HistoryFacts, ProductFacts, Shopper, compute_features

PRODUCTS, END = 6, 9.0
products = st.lists(st.integers(0, PRODUCTS - 1), min_size=1, max_size=4, unique=True).map(sorted)
# Of each user, days that are all different, with what was bought.
users = st.lists(st.dictionaries(st.integers(0, 9), products, min_size=1, max_size=4), min_size=1, max_size=5)
SETTINGS = UserTraining(pair_days=4, history_days=3, window_days=5, neighbours=PRODUCTS)


@settings(deadline=None, max_examples=60)
@given(users)
def test_covisits_are_those_of_a_plain_loop(people: list[dict[int, list[int]]]) -> None:
    rows = [(user, float(day), days[day]) for user, days in enumerate(people) for day in sorted(days)]
    together: dict[tuple[int, int], float] = defaultdict(float)
    followed: dict[tuple[int, int], float] = defaultdict(float)
    n = np.zeros(PRODUCTS)
    for at, (user, day, bought) in enumerate(rows):
        weight = 0.5 ** ((END - day) / 4)
        n[bought] += weight
        for pair in permutations(bought, 2):
            together[pair] += weight / sqrt(len(bought) - 1)
        for later_user, later, others in rows[at + 1 :]:
            if later_user == user and later - day <= 5:
                gap = 0.5 ** ((END - later) / 4) * 0.5 ** ((later - day) / 3) / sqrt(len(others))
                for pair in ((one, other) for one in bought for other in others if one != other):
                    followed[pair] += gap
    counted = count_covisits(baskets_of(rows), PRODUCTS, END * DAY, SETTINGS)
    for name, expected in (("together", together), ("followed", followed)):
        offsets, places, weights = counted[name]  # type: ignore[index]
        firsts = np.repeat(np.arange(PRODUCTS), np.diff(offsets)).tolist()
        pairs = dict(zip(zip(firsts, places.tolist(), strict=True), weights.tolist(), strict=True))
        assert pairs.keys() == expected.keys()
        for (one, other), weight in pairs.items():
            np.testing.assert_allclose(weight, expected[one, other] / sqrt((n[one] + 2) * (n[other] + 2)), rtol=1e-5)


rows_of_shop = st.integers(0, 4)  # 4 is a product without behaviour
history = st.lists(st.tuples(rows_of_shop, st.floats(0, 400, width=32), st.integers(1, 3)), max_size=6)
BESIDE = {"together_rank", "followed_rank", "user_rank", "popularity_rank", "price_level"}  # beside other candidates


@settings(deadline=None, max_examples=60)
@given(history, st.lists(rows_of_shop, min_size=1, max_size=5, unique=True))
def test_a_candidate_alone_has_the_features_that_it_has_among_others(
    events: list[tuple[int, float, int]], candidates: list[int]
) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(5, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    groups, types = np.array([1, 1, 0, -1, 0], np.int32), np.array([0, 0, 1, 1, -1], np.int32)
    places, prices = np.array([0, 1, 2, 3, -1]), np.array([1, 2, np.nan, 4, 5], np.float32)

    def facts(rows: list[int]) -> ProductFacts:
        at = np.array(rows, np.int64)
        return ProductFacts(at, places[at], groups[at], types[at], prices[at], vectors[at])

    ordered = sorted(events, key=lambda event: event[1])
    ages, actions = (np.array([event[column] for event in ordered]) for column in (1, 2))
    shopper = Shopper(
        HistoryFacts(facts([event[0] for event in ordered]), ages.astype(np.float32), actions.astype(np.int8)),
        2_000_000.0,
        vectors[0],
    )
    kept = [place for place, name in enumerate(RECOMMENDATION_NAMES) if name not in BESIDE]
    with TemporaryDirectory() as folder:
        behaviour = make_behaviour(Path(folder))
        whole = compute_features(behaviour, shopper, facts(candidates))
        alone = np.concatenate([compute_features(behaviour, shopper, facts([row])) for row in candidates])
    np.testing.assert_allclose(whole[:, kept], alone[:, kept], rtol=1e-5, atol=1e-6)
