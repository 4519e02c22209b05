from decimal import Decimal
from typing import Any

import pytest

from catalog.product import MICROS
from indexer.cleaning.currency import CURRENCIES, parse_currency
from indexer.cleaning.price import parse_price
from indexer.cleaning.rejection import InvalidValue


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
        ("1,299.00 CAD", "1299", "CAD"),  # cad. is each in Italian
        ("12,50 cad.", "12.5", "GBP"),
        ("S/.12.50", "12.5", "PEN"),
        ("税込1,320円", "1320", "JPY"),
        ("1 299,00 Kč s DPH", "1299", "CZK"),
        ("99 bez DPH", "99", "GBP"),
        ("€ 6,39 / 12,50 лв.", "6.39", "EUR"),
        ("5 / 100 g", "5", "GBP"),
        ("5 incl. of all taxes", "5", "GBP"),
        (0.1 + 0.2, "0.3", "GBP"),
        (5, "5", "GBP"),
        (Decimal("12.345"), "12.345", "GBP"),
    ],
)
def test_prices_by_hand(value: Any, amount: str | None, currency: str | None) -> None:
    if amount is None:  # rupees of several countries share the sign
        with pytest.raises(InvalidValue, match="ambiguous_price"):
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
        ("2/$5", "bad_price"),
        ("3 za 5 zł", "bad_price"),
        ("10 pcs 5 EUR", "bad_price"),
        ("10/kg USD", "bad_price"),
        ("10 incl. VAT USD", "bad_price"),
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
    with pytest.raises(InvalidValue) as caught:
        parse_price(value, None)
    assert caught.value.reason == reason


def test_the_mapping_settles_what_a_point_means() -> None:
    assert parse_price("1.299", "EUR", decimal=",") == (1299 * MICROS, "EUR")
    assert parse_price("1.299", "EUR", decimal=".") == (1_299_000, "EUR")
    assert parse_price("1.299,50", "EUR", decimal=",") == (1_299_500_000, "EUR")
    with pytest.raises(InvalidValue, match="bad_price"):
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
    assert parse_currency("Euros") == "EUR"
    assert parse_currency("$", "CAD") == "CAD"
    for wrong in ("$", "kr", "doubloons", "XYZ", ""):
        with pytest.raises(InvalidValue, match="bad_currency"):
            parse_currency(wrong)
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize(
    ("value", "amount", "currency"),
    [
        ("Rp 150.000", "150000", "IDR"),
        ("Rp150.000,00", "150000", "IDR"),
        ("RM 10.90", "10.9", "MYR"),
        ("R273.00", "273", "ZAR"),
        ("R 1 299,00", "1299", "ZAR"),
        ("A$19.99", "19.99", "AUD"),
        ("S$12.50", "12.5", "SGD"),
        ("HK$88", "88", "HKD"),
        ("NT$1,200", "1200", "TWD"),
        ("C$15", "15", "CAD"),
        ("US $5", "5", "USD"),
        ("$5 USD", "5", "USD"),
        ("฿250", "250", "THB"),
        ("₱499", "499", "PHP"),
        ("₦1,200", "1200", "NGN"),
        ("36元", "36", "CNY"),
        ("36.5元起", "36.5", "CNY"),
        ("1200円", "1200", "JPY"),
        ("１，２００円（税込）", "1200", "JPY"),
        ("12,000원", "12000", "KRW"),
        ("129,90 TL", "129.9", "TRY"),
        ("12,50 руб.", "12.5", "RUB"),
        ("499 руб/шт", "499", "RUB"),
        ("1.299,00 лв", "1299", "BGN"),
        ("150.000đ", "150000", "VND"),
        ("₫150.000", "150000", "VND"),
        ("1.299 Ft", "1299", "HUF"),
        ("12,999.00 ر.س.", "12999", "SAR"),
        ("١٢٣٫٥٠ ج.م", "123.5", "EGP"),
        ("S/. 25.90", "25.9", "PEN"),
        ("1.500 KWD", "1.5", "KWD"),
        ("99¢", "0.99", "USD"),
        ("99p", "0.99", "GBP"),
        ("from 19.99 EUR", "19.99", "EUR"),
        ("ab 19,99 €*", "19.99", "EUR"),
        ("19,99 € inkl. MwSt.", "19.99", "EUR"),
        ("19,99 € inkl. 19% MwSt.", "19.99", "EUR"),
        ("£12.00 (excl. VAT)", "12", "GBP"),
        ("$1.99/lb", "1.99", "USD"),
        ("5 € / 100 g", "5", "EUR"),
        ("5 EUR pro Stück", "5", "EUR"),
        ("Fr.12.50", "12.5", "CHF"),
        ("₹1,299/-", "1299", "INR"),
        ("199:-", "199", None),
    ],
)
def test_the_currencies_own_words(value: str, amount: str, currency: str | None) -> None:
    assert parse_price(value, None) == (int(Decimal(amount) * MICROS), currency)


@pytest.mark.parametrize(
    ("value", "default", "amount", "currency"),
    [
        ("Rs.500", "PKR", 500, "PKR"),
        ("kr. 1.299,00", "DKK", 1299, "DKK"),
        ("5 000 F CFA", "XOF", 5000, "XOF"),
        ("Dhs. 99", "AED", 99, "AED"),
        ("R 99", "BRL", 99, "BRL"),
        ("150.000", "IDR", 150_000, "IDR"),
        ("99 ct", "EUR", 0.99, "EUR"),
        ("99¢", "CAD", 0.99, "CAD"),
        ("$ 1.299", "CLP", 1299, "CLP"),
    ],
)
def test_the_catalogs_currency_decides_among_several(value: str, default: str, amount: float, currency: str) -> None:
    assert parse_price(value, default) == (round(amount * MICROS), currency)


@pytest.mark.parametrize(
    "value",
    [
        "Call for price",
        "TBD",
        "EUR",
        "19.99 - 29.99 EUR",
        "19.99 EUR (was 29.99 EUR)",
        "2 for $5",
        "3x 9,99 €",
        "20% off",
    ],
)
def test_texts_without_one_price(value: str) -> None:
    with pytest.raises(InvalidValue, match="bad_price"):
        parse_price(value, "EUR")


@pytest.mark.parametrize("value", ["Rs.500", "kr. 99", "Dhs 99", "99 ct", "1,500 KWD"])
def test_several_currencies_or_readings_are_none(value: str) -> None:
    with pytest.raises(InvalidValue, match="ambiguous_price"):
        parse_price(value, None)
