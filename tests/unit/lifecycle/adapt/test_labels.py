"""What voters say of queries, worked by hand."""

import numpy as np
import pytest

from lifecycle.adapt.labels import (
    RANKER,
    Pools,
    gains_by_ranker,
    known_product_rank,
    label_queries,
    ranks_in_pools,
    vote,
    voter_quality,
)
from lifecycle.adapt.queries import ShopQuery

ROWS = np.array([[4, 7, 9, -1], [1, 2, 3, 4]])
GOOD_VOTES = np.array([[0.9, 0.5, 0.1, -np.inf], [0.1, 0.2, 0.9, 0.3]], np.float32)
POOR_VOTES = np.array([[0.1, 0.5, 0.9, -np.inf], [0.9, 0.8, 0.1, 0.7]], np.float32)
QUERIES = [ShopQuery("a", "words", 4), ShopQuery("b", "words", 3)]


def pools(favour: float = 0.0) -> Pools:
    more, whole = np.zeros(ROWS.shape, np.float32), np.zeros(ROWS.shape, bool)
    more[0, 2] = favour
    return Pools(ROWS, {"good": GOOD_VOTES, "poor": POOR_VOTES}, more, whole)


def test_what_is_no_product_ranks_last() -> None:
    assert ranks_in_pools(POOR_VOTES, ROWS).tolist() == [[3, 2, 1, 4], [1, 2, 4, 3]]


def test_a_voter_is_as_good_as_it_ranks_known_products() -> None:
    # Ranks 1 and 1 by the one, 3 and 4 by the other.
    assert voter_quality(QUERIES, pools()) == pytest.approx({"good": 1.0, "poor": (1 / 3 + 1 / 4) / 2})
    assert voter_quality([ShopQuery("a", "head"), ShopQuery("b", "log")], pools()) == {"good": 0.0, "poor": 0.0}


def test_a_product_that_no_pool_has_counts_nothing() -> None:
    assert voter_quality([ShopQuery("a", "words", 5), ShopQuery("b", "words", 3)], pools())["good"] == 0.5


def test_voters_weigh_by_the_square_of_their_quality_and_by_two_together() -> None:
    labels = vote(pools(0.5), {"good": 1.0, "poor": 0.5})
    assert labels.weights == pytest.approx({"good": 1.6, "poor": 0.4})
    assert labels.scores[0].tolist() == pytest.approx(
        [1.6 / 61 + 0.4 / 63, 1.6 / 62 + 0.4 / 62, 1.6 / 63 + 0.4 / 61 + 0.5, -np.inf]
    )
    assert vote(pools(), {"good": 0.0, "poor": 0.0}).weights == {"good": 1.0, "poor": 1.0}


def test_agreement_is_the_share_of_the_first_ten_in_common() -> None:
    rows = np.arange(40).reshape(2, 20)
    ones = np.tile(-np.arange(20.0), (2, 1)).astype(np.float32)
    other = ones.copy()
    other[1] = np.roll(ones[1], 5)  # of the first ten, five are the same
    empty = np.zeros(rows.shape, np.float32)
    labels = vote(Pools(rows, {"a": ones, "b": other}, empty, empty > 0), {"a": 1.0, "b": 1.0})
    assert labels.agreement.tolist() == pytest.approx([1.0, 0.5])


def test_products_that_hold_all_words_are_no_negatives() -> None:
    rows = np.arange(100)[None]
    votes = -np.arange(100, dtype=np.float32)[None]
    whole = np.zeros((1, 100), bool)
    whole[0, [1, 20, 80]] = True
    made = Pools(rows, {"a": votes, "b": votes}, np.zeros((1, 100), np.float32), whole)
    result = label_queries([ShopQuery("mug", "words", 30)], made, vote(made, {"a": 1.0, "b": 1.0}))
    assert result.relevance == {"mug": {1: 0.4, 20: 0.4, 30: 1.0}}
    assert result.negatives == {"mug": [row for row in range(10, 60) if row not in (20, 30)]}


def test_without_a_known_product_good_are_those_that_voters_agree_on() -> None:
    rows = np.arange(100)[None]
    one = -np.arange(100, dtype=np.float32)[None]
    other = one.copy()
    other[0, 1] = -1000  # the second of the one is the last of the other
    made = Pools(rows, {"a": one, "b": other}, np.zeros((1, 100), np.float32), np.zeros((1, 100), bool))
    result = label_queries([ShopQuery("mug", "head")], made, vote(made, {"a": 1.0, "b": 1.0}))
    assert list(result.relevance["mug"]) == [0, 2, 3]


def test_where_voters_agree_on_nothing_there_is_no_label() -> None:
    rows = np.arange(100)[None]
    one = -np.arange(100, dtype=np.float32)[None]
    made = Pools(rows, {"a": one, "b": -one}, np.zeros((1, 100), np.float32), np.zeros((1, 100), bool))
    assert label_queries([ShopQuery("mug", "head")], made, vote(made, {"a": 1.0, "b": 1.0})).relevance == {}


def with_ranker(votes: list[list[float]]) -> Pools:
    """Words have the known products second, a tower first and third."""
    none = np.zeros((2, 3), np.float32)
    rows = np.array([[4, 7, 9], [1, 2, 3]])
    words = np.array([[0.5, 0.9, 0.1], [0.9, 0.1, 0.5]], np.float32)
    towers = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]], np.float32)
    return Pools(rows, {"words": words, "towers": towers, RANKER: np.array(votes, np.float32)}, none, none > 0)


@pytest.mark.parametrize(
    ("votes", "rank", "gains"),
    [
        ([[0.9, 0.2, 0.1], [0.1, 0.2, 0.9]], 1.0, True),
        ([[0.1, 0.2, 0.9], [0.9, 0.2, 0.1]], 1 / 3, False),
        # Ranked as the others do together: no gain, and so no vote.
        ([[0.2, 0.9, 0.1], [0.9, 0.1, 0.2]], 1 / 2, False),
    ],
)
def test_a_cross_encoder_votes_where_known_products_rank_higher_with_its_vote(
    votes: list[list[float]], rank: float, gains: bool
) -> None:
    made = with_ranker(votes)
    assert known_product_rank(QUERIES, made, made.votes[RANKER]) == pytest.approx(rank)
    quality = {"words": 0.5, "towers": (1 + 1 / 3) / 2, RANKER: rank}
    assert gains_by_ranker(QUERIES, made, quality) is gains


def test_without_a_known_product_nothing_shows_that_a_cross_encoder_helps() -> None:
    queries = [ShopQuery("a", "head"), ShopQuery("b", "log")]
    made = with_ranker([[0.9, 0.2, 0.1], [0.1, 0.2, 0.9]])
    assert not gains_by_ranker(queries, made, {"words": 0.0, "towers": 0.0, RANKER: 0.0})


def test_some_queries_of_pools_and_pools_without_a_voter() -> None:
    made = with_ranker([[0.9, 0.2, 0.1], [0.1, 0.2, 0.9]])
    last = made.take(np.array([1]))
    assert last.rows.tolist() == [[1, 2, 3]] and last.votes[RANKER][0].tolist() == pytest.approx([0.1, 0.2, 0.9])
    assert set(made.without_vote(RANKER).votes) == {"words", "towers"}
