"""Numbers with units, expected by hand."""

import pytest

from text.quantities import dimensions, number, prepared, quantities


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("18V drill, 18 volt, 18-Volt", ["18v", "18v", "18v"]),
        ("1-1/2 in. PVC", ["1.5in"]),
        ("1 1/2 inch", ["1.5in"]),
        ("1/2in", ["0.5in"]),
        ("\u00bd inch", ["0.5in"]),
        ("2\u00bd\u201d pipe", ["2.5in"]),
        ("6' ladder", ["6ft"]),
        ("6-Pack of 60W bulbs", ["6pack", "60w"]),
        ("12 sq. ft. rug", ["12sqft"]),
        ("8 fl. oz", ["8floz"]),
        ("1,000 sq ft", ["1000sqft"]),
        ("12,5 cm", ["12.5cm"]),
        ("100% cotton", ["100pct"]),
        (".5 in", ["0.5in"]),
        ("iphone 13", ["13"]),
    ],
)
def test_every_spelling_of_a_quantity_has_one_form(text: str, terms: list[str]) -> None:
    assert [result.term for result in quantities(prepared(text))] == terms


@pytest.mark.parametrize(
    "text", ["48-11-1850 blade", "0123456789012", "007", "3-in-1 tool", "DCD771C2", "v1.2.3", "5-6"]
)
def test_digits_of_codes_are_no_quantities(text: str) -> None:
    assert quantities(prepared(text)) == []


@pytest.mark.parametrize(
    ("text", "term"),
    [("18 a", "18"), ("4 to 6", "4"), ("3 k", "3"), ("4to", "4tb")],
)
def test_letters_that_are_words_too_are_units_only_right_at_the_number(text: str, term: str) -> None:
    assert quantities(prepared(text))[0].term == term


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("2x4 lumber", [["2", "4"]]),
        ("2 x 4", [["2", "4"]]),
        ("4 by 8", [["4", "8"]]),
        ("12 cm \u00d7 3 cm", [["12cm", "3cm"]]),
        ("5/8 in. x 4 ft. x 8 ft.", [["0.625in", "4ft", "8ft"]]),
        ("24 in. W x 30 in. D", [["24in", "30in"]]),
        ("2 and 4", []),
    ],
)
def test_sizes_are_runs_of_numbers_with_an_x_between(text: str, sizes: list[list[str]]) -> None:
    ready = prepared(text)
    assert [[part.term for part in run] for run in dimensions(quantities(ready), ready)] == sizes


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (18.0, "18"), (1.625, "1.625"), (2 / 3, "0.6667"), (0, "0")])
def test_a_number_is_as_short_as_it_can_be(value: float, text: str) -> None:
    assert number(value) == text
