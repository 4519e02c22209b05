from pathlib import Path

import numpy as np
import pytest
from recommending import make_behaviour

from ranker.recommendation import Limits
from retrieval.recommend.behaviour import Behaviour
from retrieval.recommend.candidates import Alignment, GroupMembers, gather
from retrieval.recommend.features import HistoryFacts, ProductFacts, Shopper

IDS = ["new", "pot", "cup", "éclair", "pan"]  # of the catalog, by row
GROUPS = np.array([1, 0, 1, -1, 1], np.int32)


@pytest.fixture
def behaviour(tmp_path: Path) -> Behaviour:
    return make_behaviour(tmp_path / "users")


def shopper(alignment: Alignment, rows: list[int]) -> Shopper:
    at = np.array(rows, np.int64)
    nothing = np.full(len(rows), np.nan, np.float32)
    products = ProductFacts(at, alignment.places[at], GROUPS[at], np.full(len(rows), -1, np.int32), nothing)
    history = HistoryFacts(products, np.zeros(len(rows), np.float32), np.full(len(rows), 3, np.int8))
    return Shopper(history, 1_000_000.0)


def test_rows_of_a_catalog_are_aligned_with_behaviour(behaviour: Behaviour) -> None:
    alignment = Alignment.make(behaviour, IDS)
    assert alignment.places.tolist() == [-1, 2, 0, 3, 1] and alignment.rows.tolist() == [2, 4, 1, 3]
    assert Alignment.make(behaviour, ["pan"]).rows.tolist() == [-1, 0, -1, -1]


def test_members_of_groups_come_by_popularity() -> None:
    members = GroupMembers(GROUPS, np.array([1, 9, 3, 99, 3], np.float32))
    assert members.members(np.array([1], np.int32), 9).tolist() == [2, 4, 0]
    assert members.members(np.array([0, 1, -1, 5], np.int32), 2).tolist() == [1, 2, 4]
    assert members.members(np.empty(0, np.int32), 2).tolist() == []
    assert GroupMembers(np.full(3, -1, np.int32), np.ones(3, np.float32)).members(GROUPS, 2).tolist() == []


def test_each_source_gathers_its_candidates_once_and_best_first(behaviour: Behaviour) -> None:
    alignment = Alignment.make(behaviour, IDS)
    groups = GroupMembers(GROUPS, np.array([0, 2, 3, 0.5, 1], np.float32))
    similar = np.array([3, 0, -1])
    # The cup's neighbours are pan and pot; the pot was bought later too.
    sources = gather(behaviour, alignment, groups, shopper(alignment, [2, 2]), Limits(), similar)
    assert {name: rows.tolist() for name, rows in sources.items()} == {
        "repurchase": [2],
        "bought_together": [4, 1],
        "same_group": [2, 4, 0],
        "user_tower": [3, 0],
        "popular": [2, 1, 4, 3],
    }


def test_limits_count_what_is_allowed(behaviour: Behaviour) -> None:
    alignment = Alignment.make(behaviour, IDS)
    groups = GroupMembers(GROUPS, np.zeros(5, np.float32))
    allowed = np.array([True, True, False, True, True])
    limits = Limits(repurchase=1, bought_together=1, same_group=1, user_tower=1, popular=2)
    sources = gather(behaviour, alignment, groups, shopper(alignment, [2, 4]), limits, np.array([2, 3, 0]), allowed)
    assert {name: rows.tolist() for name, rows in sources.items()} == {
        "repurchase": [4],
        "bought_together": [1, 4],  # the pot was bought later, and comes first by turns without the cup
        "same_group": [0],
        "user_tower": [3],
        "popular": [1, 4],
    }


def test_an_unknown_user_gets_what_is_popular(behaviour: Behaviour) -> None:
    alignment = Alignment.make(behaviour, IDS)
    groups = GroupMembers(GROUPS, np.zeros(5, np.float32))
    sources = gather(behaviour, alignment, groups, shopper(alignment, []), Limits(), np.empty(0, np.int64))
    assert {name for name, rows in sources.items() if len(rows)} == {"popular"}
