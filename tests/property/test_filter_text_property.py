"""Filters as text: what is written is read as the same, and any text is read or refused in one line."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from core import filter_text as module
from core.filter_text import filter_text, parse_filter
from core.filters import And, Equal, Exists, Filter, InvalidFilter, Not, OneOf, Or, Range, filter_digest

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NAMES = st.one_of(
    st.sampled_from(
        ("a", "brand", "AND", "IN", "attributes.x", "attributes.Cable length", "attributes.", "a.b.c", "5", "-")
    ),
    TEXTS.filter(bool),
    TEXTS.filter(bool).map("attributes.{}".format),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(min_value=datetime(1, 1, 2), timezones=st.none() | st.just(UTC))
VALUES = st.one_of(TEXTS, NUMBERS, st.booleans(), TIMES)
BOUNDS = st.one_of(
    *(
        st.fixed_dictionaries({}, optional={low: values, high: values}).filter(bool)
        for values in (NUMBERS, TIMES)
        for low in ("at_least", "above")
        for high in ("at_most", "below")
    )
)
LEAVES = st.one_of(
    st.builds(Equal, NAMES, VALUES),
    st.builds(OneOf, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
    st.builds(lambda name, bounds: Range(name, **bounds), NAMES, BOUNDS),
    st.builds(Exists, NAMES),
)


def grow(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(inner.map(Not), several.map(And), several.map(Or))


def plain(filter: Filter) -> Filter:
    """The same conditions without lists of one, with a bound a range and each inequality as `Not`."""
    match filter:
        case And((only,)) | Or((only,)):
            return plain(only)
        case And(parts):
            flat: list[Filter] = []
            for part in map(plain, parts):
                flat += part.filters if isinstance(part, And) else [part]
            return And(tuple(flat))
        case Or(parts):
            return Or(tuple(map(plain, parts)))
        case Not(inner):
            return Not(plain(inner))
        case Range(field) if len(filter.bounds) > 1:
            return And(tuple(Range(field, **{name: value}) for name, value in sorted(filter.bounds.items())))
    return filter


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, grow, max_leaves=5))
def test_what_is_written_is_read_as_the_same(tree: Filter) -> None:
    try:
        read = parse_filter(filter_text(tree))
    except InvalidFilter as error:
        assert "levels deep" in str(error)  # of lists of one
        return
    assert filter_digest(plain(read)) == filter_digest(plain(tree))
    assert parse_filter(filter_text(read)) == read


PIECES = st.sampled_from(
    (
        '"',
        "'",
        "\\",
        "(",
        ")",
        "a",
        "AND",
        " OR ",
        "NOT ",
        "IN",
        ":",
        "*",
        "=",
        "<=",
        "-",
        ".",
        ",",
        "5",
        "2026-01-01",
        "é",
        "\n",
        "true",
    )
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=20).map("".join)))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        tree = parse_filter(text)
    except InvalidFilter as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert parse_filter(filter_text(tree)) == tree


class CountedPattern:
    """Counts how many tokens are sought."""

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern
        self.calls = 0

    def match(self, text: str, start: int) -> Any:
        self.calls += 1
        return self._pattern.match(text, start)


@settings(max_examples=30, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=6).map("".join))
def test_the_work_grows_with_the_length(piece: str) -> None:
    text = (piece * 20_000)[:60_000]
    counted = CountedPattern(module._TOKEN)
    with patch.object(module, "_TOKEN", counted), suppress(InvalidFilter):
        parse_filter(text)
    assert counted.calls <= len(text) + 1
