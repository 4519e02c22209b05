from decimal import Decimal
from typing import Any

import pytest

from indexer.cleaning.codes import CodeSpelling, parse_gtin, parse_id
from indexer.cleaning.rejection import InvalidValue


@pytest.mark.parametrize(
    ("value", "gtin"),
    [
        ("4006381333931", "4006381333931"),
        (4006381333931, "4006381333931"),
        (4006381333931.0, "4006381333931"),
        ("0095205603217", "0095205603217"),
        (95205603217, "095205603217"),  # a zero lost to a number
        ("96385074", "96385074"),  # GTIN-8, from the GS1 specification's example
        (" 4006381-333931 ", "4006381333931"),
        ("4006381333931.0", "4006381333931"),
        ("4,006,381,333,931", "4006381333931"),
        ("4.006381333931E+12", "4006381333931"),
        ('="4006381333931"', "4006381333931"),
        ("'4006381333931", "4006381333931"),
        ("4006\u00a0381\u00a0333931", "4006381333931"),
        ("978-0-306-40615-7", "9780306406157"),
        (Decimal("5901234123457.0000000000"), "5901234123457"),
        (None, None),
        ("n/a", None),
    ],
)
def test_gtins(value: Any, gtin: str | None) -> None:
    assert parse_gtin(value) == gtin


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("4006381333932", "bad_gtin"),  # wrong check digit
        ("123", "bad_gtin"),
        ("0000000000000", "bad_gtin"),
        ("abc", "bad_gtin"),
        ("\u0664\u0660\u0660\u0666\u0663\u0668\u0661\u0663\u0663\u0663\u0669\u0663\u0661", "bad_gtin"),
        ("5.90123E+12", "rounded_number"),
        ("1" * 100_000, "bad_gtin"),
    ],
)
def test_what_is_no_gtin(value: Any, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        parse_gtin(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('="0017"', "0017"),
        ("'0017", "0017"),
        ("'AB-17", "AB-17"),
        ("'quoted'", "'quoted'"),
        ("4.006381333931E+12", "4006381333931"),
        ("1E5", "1E5"),  # an article number as good as any
        (Decimal("12345.000000000000000000"), "12345"),
        ("1001.0", "1001.0"),  # one alone may be meant
        ("\ufeffA2", "A2"),  # where files were joined
    ],
)
def test_ids_lose_what_a_spreadsheet_put_around_them(value: Any, name: str) -> None:
    assert parse_id(value) == name


def test_an_id_whose_digits_a_spreadsheet_rounded_is_none() -> None:
    with pytest.raises(InvalidValue, match="rounded_number"):
        parse_id("4.00638E+12")


@pytest.mark.parametrize(
    ("codes", "surplus"),
    [
        (["1001.0", "1002.0"], r"\.0$"),
        (["1001,00"], ",00$"),
        (["1001.0", "1002"], None),
        (["1001.0", "1002.00"], None),  # might become one another
        (["1,001", "17"], ","),
        (["1,001", "1002"], None),
        (["17", "18"], None),
        ([], None),
    ],
)
def test_a_spelling_is_the_whole_columns(codes: list[str], surplus: str | None) -> None:
    spelling = CodeSpelling()
    for code in codes:
        spelling.add(code)
    assert spelling.surplus == surplus
