from decimal import Decimal

import pytest

from core.decimals import plain_decimal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12345.000000000000000000", "12345"),
        ("12.500", "12.5"),
        ("0E-18", "0"),
        ("-0.00", "0"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("-2.50", "-2.5"),
        ("1E+999999", "1E+999999"),
        ("Infinity", ""),
    ],
)
def test_decimals_by_hand(value: str, text: str) -> None:
    assert plain_decimal(Decimal(value)) == text
