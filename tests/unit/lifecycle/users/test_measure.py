from pathlib import Path

import numpy as np
import pytest
from behaving import NAN, events
from recommending import make_behaviour

from lifecycle.users.learned import Learned
from lifecycle.users.measure import AGAIN, COVISITS, POPULAR, SAME, Ranking, best_first, capped, simple_lists
from lifecycle.users.measure import intra_list_distance as distance
from lifecycle.users.people import exact_search, people_at
from retrieval.recommend.behaviour import DAY
from retrieval.recommend.candidates import Alignment, GroupMembers
from retrieval.recommend.features import HistoryFacts, ProductFacts, Shopper


def test_at_most_so_many_of_a_type_and_any_number_without_one() -> None:
    rows, types = np.array([9, 8, 7, 6, 5, 4]), np.array([1, 1, 2, 1, -1, -1], np.int32)
    assert capped(rows, types, 1).tolist() == [9, 7, 5, 4]
    assert capped(rows, types, 2).tolist() == [9, 8, 7, 5, 4]
    assert capped(rows, types, 2, most=3).tolist() == [9, 8, 7]
    assert capped(rows[:0], types[:0], 2).tolist() == []


def test_the_distance_within_a_list_is_the_mean_over_pairs() -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    assert distance(vectors) == pytest.approx((1 + 2 + 1) / 3)
    assert distance(vectors[:1]) == 0


def test_equal_scores_stand_in_the_order_of_their_rows() -> None:
    assert best_first(np.array([5, 3, 4]), np.array([1, 1, 2], np.float32)).tolist() == [4, 3, 5]


def test_a_ranking_keeps_lists_and_their_precision() -> None:
    ranking = Ranking()
    ranking.add(np.arange(20), np.array([1, 19]))  # the second is beyond the twelfth place
    assert ranking.values.tolist() == [0.25] and len(ranking.ranked[0]) == 20


def test_simple_lists_by_hand(tmp_path: Path) -> None:
    behaviour = make_behaviour(tmp_path)
    alignment = Alignment.make(behaviour, ["new", "pot", "cup", "éclair", "pan"])
    groups = np.array([1, 0, 1, -1, 1], np.int32)
    members = GroupMembers(groups, np.array([0, 2, 3, 0.5, 1], np.float32))
    at = np.array([2])  # the cup was bought
    facts = ProductFacts(at, alignment.places[at], groups[at], np.array([-1], np.int32), np.array([NAN], np.float32))
    history = HistoryFacts(facts, np.zeros(1, np.float32), np.array([3], np.int8))
    popular = alignment.rows[behaviour.popular().places]
    lists = simple_lists(Learned(behaviour, alignment, members), Shopper(history, 1e6), popular)
    assert {name: rows.tolist() for name, rows in lists.items()} == {
        POPULAR: [2, 1, 4, 3],
        AGAIN: [2, 1, 4, 3],
        SAME: [2, 4, 0, 1, 3],  # the cup, its variants, then what is popular
        COVISITS: [4, 1, 2, 3],  # pan .5; pot .25 together and .125 later
    }


def test_people_have_what_they_did_before_and_bought_afterwards() -> None:
    rows = [(0, 1, 1, 3, NAN, 0), (0, 2, 2, 3, NAN, 0), (0, 3, 3, 3, NAN, 0), (0, 3, 3.5, 3, NAN, 0)]
    rows += [(1, 4, 3, 3, NAN, 0), (2, 5, 1, 3, NAN, 0), (3, 6, 3, 1, NAN, 0), (4, 7, 4, 3, NAN, 0)]
    people = people_at(events(rows), 3 * DAY, 4 * DAY)  # user 3 only looked; user 4 bought too late
    assert people.users.tolist() == [0, 1] and people.known.tolist() == [True, False]
    assert [taken.tolist() for taken in people.taken] == [[3], [4]]
    assert people.before.product[people.starts[0] : people.ends[0]].tolist() == [1, 2]
    assert people.take(np.array([1])).users.tolist() == [1]


def test_exact_search_orders_all_and_equal_ones_by_row() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float16)
    queries = np.array([[1, 0], [0, 1]], np.float32)
    assert exact_search(vectors)(queries, 3).tolist() == [[0, 2, 3], [1, 3, 0]]
    assert exact_search(vectors)(queries, 9).shape == (2, 4)
