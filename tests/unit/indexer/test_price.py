from decimal import Decimal
from typing import Any

import pytest

from core.product import MICROS
from indexer.price import CURRENCIES, parse_currency, parse_price
from indexer.rejection import Rejected


@pytest.mark.parametrize(
    ("value", "amount", "currency"),
    [
        ("39.99 EUR", "39.99", "EUR"),
        ("39.9", "39.9", "GBP"),
        ("EUR 39,99", "39.99", "EUR"),
        ("1.234,50 €", "1234.5", "EUR"),
        ("€1,234.50", "1234.5", "EUR"),
        ("1 234,56 zł", "1234.56", "PLN"),
        ("1\u202f234\u00a0€", "1234", "EUR"),
        ("1'234.50 CHF", "1234.5", "CHF"),
        ("1\u2019234.50 CHF", "1234.5", "CHF"),
        ("1.234.567", "1234567", "GBP"),
        ("1,299 USD", "1299", "USD"),
        ("₹1,23,456.78", "123456.78", "INR"),
        ("39,-", "39", "GBP"),
        ("39.\u2013 CHF", "39", "CHF"),
        ("US$ 5", "5", "USD"),
        ("0.999", "0.999", "GBP"),
        ("1234.567", "1234.567", "GBP"),
        ("12.3456", "12.3456", "GBP"),
        (".99", "0.99", "GBP"),
        ("0", "0", "GBP"),
        ("usd 7", "7", "USD"),
        ("£5", "5", "GBP"),
        ("Rs. 500 INR".replace(" INR", ""), None, None),
        (39.99, "39.99", "GBP"),
        (0.1 + 0.2, "0.3", "GBP"),
        (5, "5", "GBP"),
        (Decimal("12.345"), "12.345", "GBP"),
    ],
)
def test_prices_by_hand(value: Any, amount: str | None, currency: str | None) -> None:
    if amount is None:  # rupees of several countries share the sign
        with pytest.raises(Rejected, match="ambiguous_price"):
            parse_price(value, "GBP")
        assert parse_price(value, "INR") == (500 * MICROS, "INR")
        return
    assert parse_price(value, "GBP") == (int(Decimal(amount) * MICROS), currency)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1.299", "ambiguous_price"),
        ("1.299 €", "ambiguous_price"),
        ("100 kr", "ambiguous_price"),
        ("EUR 5 USD", "ambiguous_price"),
        ("-5", "negative_price"),
        ("\u22125 EUR", "negative_price"),
        ("-$5", "negative_price"),
        (-0.01, "negative_price"),
        ("free", "bad_price"),
        ("10-20", "bad_price"),
        ("12 34", "bad_price"),
        ("12.34.56", "bad_price"),
        ("1,2345,678", "bad_price"),
        ("1e3", "bad_price"),
        ("39.99-", "bad_price"),  # how some systems write less than nothing
        ("39-", "bad_price"),
        ("(39.99)", "bad_price"),
        ("5 apples", "bad_price"),
        (float("inf"), "bad_price"),
        (float("nan"), "bad_price"),
        (True, "bad_price"),
        ({"value": 5}, "bad_price"),
        (10**12, "absurd_price"),
        ("9" * 40, "absurd_price"),
        ("9" * 2_000_000, "absurd_price"),
    ],
)
def test_prices_that_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_price(value, None)
    assert caught.value.reason == reason


def test_the_mapping_settles_what_a_point_means() -> None:
    assert parse_price("1.299", "EUR", decimal=",") == (1299 * MICROS, "EUR")
    assert parse_price("1.299", "EUR", decimal=".") == (1_299_000, "EUR")
    assert parse_price("1.299,50", "EUR", decimal=",") == (1_299_500_000, "EUR")
    with pytest.raises(Rejected, match="bad_price"):
        parse_price("1,5", "EUR", decimal=".")


def test_scaling_is_decimal() -> None:
    assert parse_price(3999, "EUR", Decimal("0.01")) == (39_990_000, "EUR")
    assert parse_price("3999", "EUR", Decimal("0.01")) == (39_990_000, "EUR")
    assert parse_price(29, "EUR", Decimal("0.01")) == (290_000, "EUR")  # 0.29 has no exact binary fraction


def test_a_dollar_is_the_catalogs_own() -> None:
    assert parse_price("$5", "CAD")[1] == "CAD"
    assert parse_price("$5", "EUR")[1] == "USD"
    assert parse_price("5 kr", "SEK")[1] == "SEK"
    assert parse_price("¥5", "CNY")[1] == "CNY"
    assert parse_price("¥5", None)[1] == "JPY"


def test_currencies() -> None:
    assert parse_currency(" eur ") == "EUR"
    assert parse_currency("€") == "EUR"
    assert parse_currency("zł") == "PLN"
    for wrong in ("$", "kr", "euro", "XYZ", ""):
        with pytest.raises(Rejected, match="bad_currency"):
            parse_currency(wrong)
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)
