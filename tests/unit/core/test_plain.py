from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from core.plain import plain_text, text_column


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        (True, "true"),
        (12340, "12340"),
        (12340.0, "12340"),
        (1.5, "1.5"),
        (2.0**60, "1.152921504606847e+18"),
        (Decimal("12.500"), "12.5"),
        (b"caf\xc3\xa9", "café"),
        (date(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2, 3, 4), "2020-01-02T03:04:00"),
    ],
)
def test_values_by_hand(value: Any, text: str) -> None:
    assert plain_text(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), b"\xe9", ["a"], {"a": 1}])
def test_what_is_no_plain_value_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        plain_text(value)


def test_columns_of_any_type_become_texts_without_blanks_around() -> None:
    decimals = pa.chunked_array([pa.array([Decimal("12340.0000"), None], pa.decimal128(38, 4))])
    assert text_column(decimals).to_pylist() == ["12340", None]
    assert text_column(pa.array(["a ", "\u00a0b", None]).dictionary_encode()).to_pylist() == ["a", "b", None]
    assert text_column(pa.array([], pa.int64())).to_pylist() == []
    with pytest.raises(ValueError):
        text_column(pa.array([b"\xe9"]).view(pa.string()))
