from typing import Any

import pytest

from catalog.product import AVAILABILITIES
from indexer.cleaning.availability import parse_availability
from indexer.cleaning.rejection import InvalidValue


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("in stock", "in_stock"),
        ("In_Stock", "in_stock"),
        ("https://schema.org/InStock", "in_stock"),
        ("http://schema.org/OutOfStock", "out_of_stock"),
        ("Sold out", "out_of_stock"),
        ("pre-order", "preorder"),
        ("BackOrder", "backorder"),
        (True, "in_stock"),
        (False, "out_of_stock"),
        (12, "in_stock"),
        (0, "out_of_stock"),
        ("-3", "out_of_stock"),
        ("7.0", "in_stock"),
        ("2.5", "in_stock"),
        ("0.0", "out_of_stock"),
        ("https://www.schema.org/InStock", "in_stock"),
        ("schema:MadeToOrder", "in_stock"),
        ("https://schema.org/Reserved", "out_of_stock"),
        (3.0, "in_stock"),
        (None, None),
        ("  ", None),
    ],
)
def test_availability(value: Any, state: str | None) -> None:
    assert parse_availability(value) == state
    assert state is None or state in AVAILABILITIES


@pytest.mark.parametrize(
    ("phrase", "state"),
    [
        ("10+", "in_stock"),
        (">5", "in_stock"),
        ("> 0", "in_stock"),
        ("5 pcs", "in_stock"),
        ("0 pcs", "out_of_stock"),
        ("10,5", "in_stock"),
        ("1,000", "in_stock"),
        ("unlimited", "in_stock"),
        ("\u221e", "in_stock"),
        ("Low stock (3)", "in_stock"),
        ("In stock (0)", "out_of_stock"),
        ("out of stock (0)", "out_of_stock"),
        ("Only 3 left", "in_stock"),
        ("ships in 24h", "in_stock"),
        ("Lieferzeit 2-3 Tage", "in_stock"),
        ("auf Lager", "in_stock"),
        ("noch 3 Stück auf Lager", "in_stock"),
        ("Nicht auf Lager", "out_of_stock"),
        ("ausverkauft", "out_of_stock"),
        ("en stock", "in_stock"),
        ("Rupture de stock", "out_of_stock"),
        ("agotado", "out_of_stock"),
        ("Disponibile (3 pezzi)", "in_stock"),
        ("op voorraad", "in_stock"),
        ("Skladem 5 ks", "in_stock"),
        ("в наличии: 5 шт.", "in_stock"),
        ("нет в наличии", "out_of_stock"),
        ("под заказ", "backorder"),
        ("Stokta yok", "out_of_stock"),
        ("במלאי", "in_stock"),
        ("متوفر", "in_stock"),
        ("在庫あり", "in_stock"),
        ("残り2点", "in_stock"),
        ("予約受付中", "preorder"),
        ("有货", "in_stock"),
        ("품절", "out_of_stock"),
        ("มีสินค้า", "in_stock"),
    ],
)
def test_words_and_quantities_of_shops(phrase: str, state: str) -> None:
    assert parse_availability(phrase) == state


@pytest.mark.parametrize(
    "phrase",
    [
        *("<5", "0-5", "2 weeks", "100 %", "out of stock, 3 pcs", "ask us", "in stock or not", "x" * 100_000),
        *("2026-12-01", "in stock 1.12.2026"),  # there from a day on
    ],
)
def test_what_may_mean_either_is_not_read(phrase: str) -> None:
    with pytest.raises(InvalidValue, match="unknown_availability"):
        parse_availability(phrase)


def test_an_unknown_availability_is_refused() -> None:
    with pytest.raises(InvalidValue, match="unknown_availability"):
        parse_availability("maybe")
