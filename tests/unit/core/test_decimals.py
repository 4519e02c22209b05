from decimal import Decimal

import pyarrow as pa
import pytest

from core.decimals import plain_decimal, plain_texts


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


def test_columns_of_decimals_become_texts_and_others_stay() -> None:
    column = pa.chunked_array([pa.array([Decimal("12340.0000"), None], pa.decimal128(38, 4))])
    assert plain_texts(column).to_pylist() == ["12340", None]
    assert plain_texts(pa.array([1, 2])).to_pylist() == [1, 2]
