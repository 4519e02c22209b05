from datetime import UTC, datetime

import pytest

from core.filter_text import filter_text, parse_filter
from core.filters import And, Equal, Exists, Filter, InvalidFilter, Not, OneOf, Or, Range

A, B, C = Equal("a", 1.0), Equal("b", 2.0), Equal("c", 3.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'price < 50 AND brand IN ("Bosch","Makita")',
            And((Range("price", below=50.0), OneOf("brand", ("Bosch", "Makita")))),
        ),
        ('brand = "Bosch"', Equal("brand", "Bosch")),
        ("brand=Bosch", Equal("brand", "Bosch")),
        ("brand = 'O\"Neill'", Equal("brand", 'O"Neill')),
        (r'size = "27\" \\"', Equal("size", '27" \\')),
        ("brand != Bosch", Not(Equal("brand", "Bosch"))),
        ("color:red", Equal("color", "red")),
        ("gtin:*", Exists("gtin")),
        ("attributes:Voltage", Exists("attributes.Voltage")),
        ('attributes:"Cable length"', Exists("attributes.Cable length")),
        ('attributes."Cable length" >= 2', Range("attributes.Cable length", at_least=2.0)),
        ("attributes.Voltage > -1.5e2", Range("attributes.Voltage", above=-150.0)),
        ("attributes.3d-glasses = true", Equal("attributes.3d-glasses", True)),
        ("attributes.v2.5 = false", Equal("attributes.v2.5", False)),
        ('"AND" = "true"', Equal("AND", "true")),
        ("attributes.Größe = 38", Equal("attributes.Größe", 38.0)),
        ("added >= 2026-01-31", Range("added", at_least=datetime(2026, 1, 31, tzinfo=UTC))),
        ("added < 2026-01-31T13:00:00+01:00", Range("added", below=datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ("added < 2026-01-31T12:00Z", Range("added", below=datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ('added = "2026-01-31"', Equal("added", "2026-01-31")),
        ("price >= 20 AND price <= 30", Range("price", at_least=20.0, at_most=30.0)),
        ("price < 30 AND price > 20 AND a = 1", And((Range("price", above=20.0, below=30.0), A))),
        ("p > 5 AND p < 3", And((Range("p", above=5.0), Range("p", below=3.0)))),
        ("a = 1 AND b = 2 OR c = 3", And((A, Or((B, C))))),  # OR binds more tightly
        ("(a = 1 AND b = 2) OR c = 3", Or((And((A, B)), C))),
        ("NOT a = 1 OR -b = 2", Or((Not(A), Not(B)))),
        ("NOT (a = 1 AND b = 2)", Not(And((A, B)))),
        ("-(a = 1)", Not(A)),
        ("((((a=1))))", A),
        ("\n a\t=\n1 ", A),
        ("(" * 32 + "a=1" + ")" * 32, A),
    ],
)
def test_texts_are_read(text: str, expected: Filter) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "character 1, at the end: expected the name of a field"),
        ("price", "character 6, at the end: expected =, !=, <, <=, >, >=, : or IN after 'price'"),
        ("price <", "character 8, at the end: expected a value"),
        ("price < )", "character 9, at ')': expected a value"),
        ("price < 50 brand = x", "character 12, at 'brand = x': expected AND, OR or the end"),
        ("price < 50 and a = 1", "character 12, at 'and a = 1': expected AND, OR or the end; write AND in capitals"),
        ("v = 18V", "character 5, at '18V': expected a value; put '18V' in quotes if it is a value"),
        ('brand = "Bosch', "character 9, at '\"Bosch': this quote is not closed"),
        ("(a = 1", "character 7, at the end: expected AND, OR or a closing parenthesis"),
        ("a = 1)", "character 6, at ')': expected AND, OR or the end"),
        ("brand IN Bosch", "character 10, at 'Bosch': expected an opening parenthesis after IN"),
        ("brand IN (a b)", "character 13, at 'b)': expected a comma or a closing parenthesis"),
        ("brand IN ()", "character 11, at ')': expected a value"),
        ("a = AND", "character 5, at 'AND': expected a value"),
        ("NOT NOT a = 1", "character 5, at 'NOT a = 1': expected the name of a field"),
        ("price < true", "character 9, at 'true': expected a number or a date"),
        ("a = 1e999", "character 5, at '1e999': this number is too large"),
        ("a = 2026-02-31", "character 5, at '2026-02-31': there is no such date"),
        ("a = 0001-01-01T00:00+14:00", "character 5, at '0001-01-01T00:00+14:': there is no such date"),
        ('"" = 1', "character 1, at '\"\" = 1': the name of a field is empty"),
        ("a. = 1", "character 4, at '= 1': expected the name of a field"),
        ("a = *", "character 5, at '*': expected a value"),
        ("5 = 5", "character 1, at '5 = 5': expected the name of a field"),
        ("(" * 33 + "a=1", f"character 33, at '{'(a=1'}': parentheses are nested more than 32 deep"),
        ("a = \ud800", "character 5 is not UTF-8"),
        ("a = 1 AND \x00", "character 11, at '\\x00': expected the name of a field"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_place(text: str, problem: str) -> None:
    with pytest.raises(InvalidFilter) as error:
        parse_filter(text)
    assert str(error.value) == f"filter: {problem}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x" * 65_537, "filter: has 65,537 characters; give at most 65,536"),
        (" OR ".join(["a = 1"] * 257), "there are more than 256 conditions"),
        (f"a IN ({', '.join(['1'] * 1025)})", "there are more than 1024 values"),
        (f'a = "{"x" * 1025}"', "a value has at most 1,024 characters"),
        (f'attributes."{"x" * 118}" = 1', "a field's name has at most 128 characters"),
        ("-(" * 8 + "a=1" + ")" * 8, "filter: is 9 levels deep; send at most 8"),
        ("(" * 60_000, "parentheses are nested more than 32 deep"),
        ("NOT " * 16_000, "expected the name of a field"),
    ],
)
def test_large_texts_are_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(InvalidFilter) as error:
        parse_filter(text)
    assert problem in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (Equal("brand", 'a"\\'), r'brand = "a\"\\"'),
        (Not(Equal("a", True)), "a != true"),
        (Not(Not(A)), "NOT (a != 1)"),
        (And((A, Or((B, C)))), "a = 1 AND (b = 2 OR c = 3)"),
        (Or((And((A, B)), C)), "(a = 1 AND b = 2) OR c = 3"),
        (Not(Range("p", at_least=1.0, below=2.0)), "NOT (p >= 1 AND p < 2)"),
        (OneOf("a", (1.5, "x", False)), 'a IN (1.5, "x", false)'),
        (Exists("attributes.Cable length"), 'attributes."Cable length":*'),
        (Equal("a", datetime(2026, 1, 31)), "a = 2026-01-31T00:00:00+00:00"),
    ],
)
def test_filters_are_written(tree: Filter, text: str) -> None:
    assert filter_text(tree) == text and filter_text(parse_filter(text)) == text
