from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.text import as_text, clean_link, clean_text, clip, parse_number


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("a < b", "a < b"),
        ("3/4 in. <18V drill", "3/4 in. <18V drill"),
        ("size <Medium> & AT&T", "size <Medium> & AT&T"),
        ("Salt&Pepper &copy 2", "Salt&Pepper &copy 2"),
        ("<p>Hello<br/>World</p>", "Hello World"),
        ("<ul><li>One</li><li>Two</li></ul>", "One Two"),
        ("H<sub>2</sub>O, <B CLASS='x'>bold</B>", "H2O, bold"),
        ('<img alt="a > b" src=x>picture', "picture"),
        ("<a href='x?a=1&amp;b=2'>link</a>", "link"),
        ("before<script>var a = '<b>';</script>after", "before after"),
        ("kept<style>p {color: red}", "kept"),
        ("x<!-- note <b> -->y", "x y"),
        ("<o:p>office</o:p></font-face>", "office"),
        ('<foo bar="1">baz</foo>', "baz"),
        ("<<b>b>x", "x"),
        ("caf&eacute; &#8364; &#x20ac; &nbsp;x", "café € € x"),
        ("Tom &amp;amp;amp; Jerry", "Tom & Jerry"),
        ("&lt;p&gt;twice&lt;/p&gt;", "twice"),
        ("3 &lt; 5", "3 < 5"),
        ("cafe\u0301", "café"),
        ("a\x00b\u200bc\u00a0\t d\r\n", "abc d"),
        ("\ud800broken", "broken"),
        ("  two   spaces ", "two spaces"),
        ("<p></p>", ""),
    ],
)
def test_texts_by_hand(raw: str, text: str) -> None:
    assert clean_text(raw) == text
    assert clean_text(text) == text


def test_text_escaped_without_end_is_still_cleaned_to_something_stable() -> None:
    deep = "&" + "#38;" * 40 + "lt;b&gt;x"
    once = clean_text(deep)
    assert clean_text(once) == once


def test_clipping_prefers_a_space() -> None:
    assert clip("short", 10) == "short"
    assert clip("a" * 19 + " bc", 20) == "a" * 19
    assert clip("a" * 30, 20) == "a" * 20
    assert clip("word " * 10, 12) == "word word wo"  # the space before is further back than a tenth


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (True, "yes"),
        (False, "no"),
        (17.0, "17"),
        (2.13, "2.13"),
        (0.1 + 0.2, "0.3"),
        (95205603217, "95205603217"),
        (1234567890123457.0, "1234567890123457"),
        (2.0**53, "9007199254740992.0"),
        (Decimal("1.50"), "1.5"),
        (Decimal("12345.000000000000000000"), "12345"),
        (Decimal("0E-18"), "0"),
        (Decimal("-0.00"), "0"),
        (Decimal("100"), "100"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.000000E-12"), "0.000000000001"),
        (Decimal("1234567890123456789012345678901234.5000"), "1234567890123456789012345678901234.5"),
        (Decimal("1E+999999"), "1E+999999"),
        (Decimal("NaN"), ""),
        ('="0017"', "0017"),
        ('="a ""b"""', 'a "b"'),
        ("'0017", "0017"),
        ("'-10 C freezer bag", "-10 C freezer bag"),
        ("'90s dress", "'90s dress"),
        ("=)", "=)"),
        (b"caf\xc3\xa9", "café"),
        (date(2026, 11, 24), "2026-11-24"),
        ("N/A", ""),
        (" None ", ""),
        (" none of these ", " none of these "),
        ("null", ""),
        ("-", ""),
        ("Nano", "Nano"),
        ("#N/A", ""),
        ("#REF!", ""),
        ("########", ""),
        ("\\N", ""),  # of databases
        ("#10 screw", "#10 screw"),
        ("#", "#"),
    ],
)
def test_scalars_as_text(value: Any, text: str) -> None:
    assert as_text(value) == text


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidValue, match="undecodable"):
        as_text(b"a\xff")


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], (1,)])
def test_objects_are_no_text(value: Any) -> None:
    with pytest.raises(InvalidValue, match="nested_value"):
        as_text(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (12, 12.0),
        (" 3.5 ", 3.5),
        ("1e3", 1000.0),
        (Decimal("0.25"), 0.25),
        (0, 0.0),
        (-2, -2.0),
        ("1,234", None),
        ("many", None),
        ("n/a", None),
        ("", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        ("inf", None),
        ("9" * 400, None),
    ],
)
def test_numbers(value: Any, number: float | None) -> None:
    assert parse_number(value) == number


@pytest.mark.parametrize(
    ("raw", "link"),
    [
        ("https://shop.example/a?x=1&amp;y=2", "https://shop.example/a?x=1&y=2"),
        (" HTTP://shop.example/a b.jpg ", "HTTP://shop.example/a%20b.jpg"),
        ("https://shop.example/?a=1&copy=2", "https://shop.example/?a=1&copy=2"),
        ("javascript:alert(1)", None),
        ("//cdn.example/x.jpg", None),
        ("https://", None),
        ("https://shop.example/" + "a" * 4075, "https://shop.example/" + "a" * 4075),
        ("https://shop.example/" + "a" * 4076, None),
        ("", None),
    ],
)
def test_links(raw: str, link: str | None) -> None:
    assert clean_link(raw) == link
