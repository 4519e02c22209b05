"""What queries say of prices, and what only looks like it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text.price_bounds import PriceBounds, asks_for_low_price, read_price_bounds

EURO, NONE = frozenset(["EUR"]), frozenset[str]()


def most(price: float, currencies: frozenset[str] = NONE) -> PriceBounds:
    return PriceBounds(None, round(price * 1e6), currencies)


@pytest.mark.parametrize(
    ("text", "rest", "bounds"),
    [
        ("headphones under 50", "headphones", most(50)),
        ("headphones under 50?", "headphones", most(50)),
        ("Red mugs below 30 euro", "Red mugs", most(30, EURO)),
        ("mug for less than 9,99 €", "mug", most(9.99, EURO)),
        ("not more than 35 EUR jumpers", "jumpers", most(35, EURO)),
        ("kettle max. €40", "kettle", most(40, EURO)),
        ("shirt for 30 euro or less", "shirt", most(30, EURO)),
        ("mug under £15", "mug", most(15, frozenset(["GBP"]))),
        ("mug under 15 dollars", "mug", most(15, frozenset(["USD", "AUD", "CAD", "NZD"]))),
        ("kopfhörer bis 50 euro", "kopfhörer", most(50, EURO)),
        ("casque moins de 50 €", "casque", most(50, EURO)),
        ("backpack between 40 and 80", "backpack", PriceBounds(40_000_000, 80_000_000)),
        ("backpack from 80 to 40 euro", "backpack", PriceBounds(40_000_000, 80_000_000, EURO)),
        ("rucksack zwischen 40 und 80 euro", "rucksack", PriceBounds(40_000_000, 80_000_000, EURO)),
        ("sofa over 500 euro", "sofa", PriceBounds(500_000_000, None, EURO)),
        ("sofa 500 euro or more", "sofa", PriceBounds(500_000_000, None, EURO)),
        ("tv 50 inch under 400", "tv 50 inch", most(400)),
        ("toys for kids under 12 euro", "toys for kids", most(12, EURO)),
        ("kettle 20 to 30 euros", "kettle", PriceBounds(20_000_000, 30_000_000, EURO)),
        ("kettle 20-30€", "kettle", PriceBounds(20_000_000, 30_000_000, EURO)),
        ("€20 - €30 kettle", "kettle", PriceBounds(20_000_000, 30_000_000, EURO)),
        ("Kessel 20 bis 30 Euro", "Kessel", PriceBounds(20_000_000, 30_000_000, EURO)),
        ("bouilloire 20 à 30 €", "bouilloire", PriceBounds(20_000_000, 30_000_000, EURO)),
        ("kettle around 50 euro", "kettle", PriceBounds(40_000_000, 60_000_000, EURO)),
    ],
)
def test_prices_are_read_and_taken_out(text: str, rest: str, bounds: PriceBounds) -> None:
    assert read_price_bounds(text) == (rest, bounds)


@pytest.mark.parametrize(
    "text",
    [
        "shelf under 50 cm",
        "cable up to 5m",
        "table up to 150x80",
        "drill max 18 volt",
        "phone with more than 128 gb",
        "toys for kids under 12",
        "socks size under 40 wide",
        "under sink mat",
        "mug below 50%",
        "levi's 501",
        "screws between 4 and 6 mm",
        "under 50",
        "sofa max 1.500 euro",  # thousands or a decimal: nobody can tell
        "thunder 50",
        "screws 20 to 30",
        "mixer 2 to 4 cups",
        "puzzle ages 4-6",
        "hose 20-30 m",
        "about 50 screws",
        "",
    ],
)
def test_what_is_no_price_stays(text: str) -> None:
    assert read_price_bounds(text) == (text, None)


@pytest.mark.parametrize(
    ("text", "low"),
    [
        ("cheap kettle", True),
        ("Günstige Kopfhörer", True),
        ("robe pas chère", True),
        ("zapatos baratos", True),
        ("goedkope fiets", True),
        ("cheap trick vinyl", False),
        ("chear kettle", False),
        ("budget-friendly kettle", False),
        ("kettle under 50", False),
    ],
)
def test_words_for_a_low_price(text: str, low: bool) -> None:
    assert asks_for_low_price(text) == low


_WORDS = ["under", "50", "5", "€", "euro", "between", "and", "mug", "max", ".", "cm"]


@given(st.text(max_size=80) | st.lists(st.sampled_from(_WORDS)).map(" ".join))
def test_whatever_is_typed_is_read_and_never_emptied(text: str) -> None:
    rest, bounds = read_price_bounds(text)
    assert (rest == text) if bounds is None else rest.strip()


def test_reading_takes_time_by_length_alone() -> None:
    """Words that begin a bound again and again: what is tried is counted by how much longer a longer one takes."""

    def seconds(count: int) -> float:
        text = "under 5 between 4 and " * count
        best = 9.0
        for _ in range(5):
            start = time.process_time()
            read_price_bounds(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(80) < 40 * max(seconds(8), 1e-5)
