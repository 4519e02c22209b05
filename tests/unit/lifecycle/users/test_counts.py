"""Values worked by hand. Days are whole; the end is day 10."""

import numpy as np
import pytest
from behaving import NAN, baskets_of, events

from lifecycle.users.counts import (
    count_again,
    count_products,
    counted,
    decay,
    make_baskets,
    median_prices,
    popular_lists,
)
from retrieval.recommend.behaviour import DAY

END = 10 * DAY


ROWS = [
    (0, 0, 10, 3, 2.0, 0),
    (0, 0, 10, 3, 4.0, 0),
    (0, 1, 10, 1, NAN, 0),  # a look, which counts for nothing beside purchases
    (1, 0, 8, 3, 9.0, 1),
    (1, 2, 8, 3, NAN, 1),
]


def test_a_purchase_counts_half_for_each_half_life() -> None:
    days = np.array([10, 8, 6, 4]) * DAY
    assert decay(days.astype(np.int64), END, 2).tolist() == [1, 0.5, 0.25, 0.125]


def test_purchases_alone_count_where_there_are_any() -> None:
    assert len(counted(events(ROWS))) == 4
    assert len(counted(events([(0, 0, 1, 1, NAN, 0), (0, 1, 1, 2, NAN, 0)]))) == 2


def test_products_are_counted_by_age_buyers_and_price() -> None:
    counts = count_products(events(ROWS), 4, END, 2)
    assert counts.popularity.tolist() == [2.5, 0, 0.5, 0]
    # Of late: a tenth of the half-life, so two days are ten of them.
    np.testing.assert_allclose(counts.recent, [2 + 2**-10, 0, 2**-10, 0])
    assert counts.sold.tolist() == [3, 0, 1, 0] and counts.buyers.tolist() == [2, 0, 1, 0]
    assert counts.first[[0, 1, 2]].tolist() == [8 * DAY, 10 * DAY, 8 * DAY] and counts.last[0] == 10 * DAY
    np.testing.assert_array_equal(counts.price, np.array([4, NAN, NAN, NAN], np.float32))


def test_the_median_of_an_even_number_is_the_lower_of_the_middle_two() -> None:
    rows = [(0, 1, 1, 3, price, 0) for price in (5.0, 1.0, 9.0, 3.0)]
    assert median_prices(events(rows), 2)[1] == 3


def test_lists_are_of_all_and_of_channels_with_enough_events() -> None:
    lists = {(one.segment, one.channel): one for one in popular_lists(events(ROWS), 3, END, 2, 10, least_events=2)}
    assert lists["", ""].rows.tolist() == [0, 2] and lists["", ""].weights.tolist() == [2.5, 0.5]
    assert lists["", "shop"].rows.tolist() == [0] and lists["", "web"].rows.tolist() == [0, 2]
    assert {*dict.fromkeys(popular_channel for _, popular_channel in lists)} == {"", "shop", "web"}
    few = popular_lists(events(ROWS), 3, END, 2, 10, least_events=3)
    assert [(one.segment, one.channel) for one in few] == [("", "")]
    assert popular_lists(events(ROWS), 3, END, 2, 1, 9)[0].rows.tolist() == [0]


def test_a_pause_ends_a_basket_and_a_product_is_in_it_once() -> None:
    rows = [(0, 5, 1, 3, NAN, 0), (0, 5, 1.1, 3, NAN, 0), (0, 3, 1.3, 3, NAN, 0), (0, 3, 1.6, 3, NAN, 0)]
    rows.append((1, 3, 1.6, 3, NAN, 0))
    baskets = make_baskets(events(rows), 10, gap_hours=6)
    assert baskets.user.tolist() == [0, 0, 1]
    assert baskets.basket.tolist() == [0, 0, 1, 2] and baskets.product.tolist() == [3, 5, 3, 3]
    np.testing.assert_allclose(baskets.time / DAY, [1.3, 1.6, 1.6])
    assert len(make_baskets(events(rows).take(np.zeros(5, bool)), 10, 6).user) == 0


def test_how_probably_a_product_is_bought_again_by_its_age() -> None:
    # User 0 has the cup on day 0, comes on day 1 without it, on day 4 with it and on day 5 without it.
    # So at an age of 1 day it was seen once and not bought, at 4 once and bought; the later cup at 1 once, not bought.
    rows = [(0, 0, [0]), (0, 1, [1]), (0, 4, [0]), (0, 5, [2])]
    again = count_again(baskets_of(rows), 3, ages=(1, 2, 5))
    # The pan of day 1 was seen at 3 and 4 days, and not bought.
    visits, mean = [2, 0, 3], 1 / 5
    bought = [0, 0, 1]
    expected = [(b + 20 * mean) / (v + 20) for b, v in zip(bought, visits, strict=True)]
    np.testing.assert_allclose(again.rates, expected)
    # The cup was seen twice at 1 day and once at 4, and bought once; the pan twice at up to 5; both drawn to 1 by 2.
    cup = (1 + 2) / (2 * expected[0] + expected[2] + 2)
    pan = 2 / (2 * expected[2] + 2)
    np.testing.assert_allclose(again.factors, [cup, pan, 1], rtol=1e-6)
    assert again.visits == 5


def test_nobody_who_came_twice_gives_no_rates() -> None:
    again = count_again(baskets_of([(0, 0, [0, 1]), (1, 0, [0])]), 2, ages=(1, 2))
    assert again.rates.tolist() == [0, 0] and again.factors.tolist() == [1, 1] and again.visits == 0


@pytest.mark.parametrize("seed", range(3))
def test_again_counts_as_a_plain_loop_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [
        (user, float(day), sorted(set(random.integers(0, 4, 3).tolist())))
        for user in range(4)
        for day in sorted(random.choice(30, random.integers(1, 6), replace=False).tolist())
    ]
    ages = (2.0, 7.0, 30.0)
    seen, again = np.zeros(3), np.zeros(3)
    for at, (user, day, products) in enumerate(rows):
        for product in products:
            for later_user, later_day, later_products in rows[at + 1 :]:
                if later_user != user:
                    break
                place = next(place for place, age in enumerate(ages) if later_day - day <= age)
                seen[place] += 1
                again[place] += product in later_products
                if product in later_products:
                    break
    mean = again.sum() / max(1, seen.sum())
    np.testing.assert_allclose(count_again(baskets_of(rows), 4, ages).rates, (again + 20 * mean) / (seen + 20))
