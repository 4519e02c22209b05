"""Filters as text, in the grammar of AIP-160, with IN for one of several values.

    price < 50 AND brand IN ("Bosch", "Makita") AND NOT color:red AND attributes."Cable length" >= 2

OR binds more tightly than AND, as AIP-160 has it: `a AND b OR c` is `a AND (b OR c)`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from core.filters import (
    MAX_CONDITIONS,
    MAX_FIELD_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    MAX_VALUES,
    And,
    Equal,
    Exists,
    Filter,
    InvalidFilter,
    Not,
    OneOf,
    Or,
    Range,
    Value,
    check_bounds,
    is_finite,
    range_problem,
)
from core.strings import quoted

MAX_CHARACTERS = 1 << 16
_MAX_NESTING = 32  # parentheses, of which single conditions may have more than levels
_SHOWN = 20
_ATTRIBUTES = "attributes"
_KEYWORDS = ("AND", "OR", "NOT", "IN")
_BOUNDS = {">=": "at_least", ">": "above", "<=": "at_most", "<": "below"}
_SIGNS = {name: sign for sign, name in _BOUNDS.items()}
_LOW, _HIGH = {"at_least", "above"}, {"at_most", "below"}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
      | (?P<date> \d{4}-\d\d-\d\d (?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)? (?![\w:]) )
      | (?P<number> -?\d+(?:\.\d+)?(?:[eE][+-]?\d+)? (?!\w) )
      | (?P<mixed> \d[\w-]* )
      | (?P<word> [^\W\d][\w-]* )
      | (?P<sign> != | <= | >= | [=<>:(),.*-] )
      | (?P<other> \S )
      | (?P<end> \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_NAME = re.compile(r"[^\W\d][\w-]*(?:\.[^\W\d][\w-]*)*")


def parse_filter(text: str) -> Filter:
    """Reads a filter in time linear in its length. Raises InvalidFilter, with the place of what is wrong."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidFilter("filter", f"has {len(text):,} characters; give at most {MAX_CHARACTERS:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidFilter("filter", f"character {error.start + 1} is not UTF-8") from None
    filter = _Parser(text).parse()
    check_bounds(filter)
    return filter


def filter_text(filter: Filter) -> str:
    """The text that `parse_filter` reads as a filter that passes the same products."""
    match filter:
        case Equal(field, value):
            return f"{_name_text(field)} = {_value_text(value)}"
        case OneOf(field, values):
            return f"{_name_text(field)} IN ({', '.join(map(_value_text, values))})"
        case Range(field):
            bounds = filter.bounds.items()
            return " AND ".join(f"{_name_text(field)} {_SIGNS[name]} {_value_text(value)}" for name, value in bounds)
        case Exists(field):
            return f"{_name_text(field)}:*"
        case Not(inner):
            return _negation_text(_unwrapped(inner))
        case And((only,)) | Or((only,)):
            return filter_text(only)
        case And(parts):
            return " AND ".join(map(_part_text, parts))
        case Or(parts):
            return " OR ".join(map(_part_text, parts))


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind` is a group of the pattern, `place` where it begins in the text."""

    kind: str
    text: str
    place: int

    def is_sign(self, *signs: str) -> bool:
        return self.kind == "sign" and self.text in signs

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text in words


class _Parser:
    """Recursive descent; one token is looked at before it is taken."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._conditions = 0
        self._values = 0
        self._nesting = 0
        self._next = self._read(0)

    def parse(self) -> Filter:
        filter = self._expression()
        if self._next.kind != "end":
            self._fail("expected AND, OR or the end")
        return filter

    def _read(self, start: int) -> _Token:
        match = _TOKEN.match(self._text, start)
        assert match is not None and match.lastgroup is not None, "each character begins a token"
        self._end = match.end()
        return _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))

    def _take(self) -> _Token:
        taken, self._next = self._next, self._read(self._end)
        return taken

    def _fail(self, expected: str, token: _Token | None = None) -> NoReturn:
        token = token or self._next
        if token.kind == "end":
            raise InvalidFilter("filter", f"character {token.place + 1}, at the end: {expected}")
        if token.kind == "other" and token.text in "\"'":
            expected = "this quote is not closed"
        elif token.kind == "mixed":
            expected += f"; put {quoted(token.text)} in quotes if it is a value"
        elif token.kind == "word" and token.text.upper() in _KEYWORDS and token.text not in _KEYWORDS:
            expected += f"; write {token.text.upper()} in capitals"
        near = quoted(self._text[token.place : token.place + _SHOWN])
        raise InvalidFilter("filter", f"character {token.place + 1}, at {near}: {expected}")

    def _expression(self) -> Filter:
        parts = [self._factor()]
        while self._next.is_word("AND"):
            self._take()
            parts.append(self._factor())
        parts = _join_ranges(parts)
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _factor(self) -> Filter:
        parts = [self._term()]
        while self._next.is_word("OR"):
            self._take()
            parts.append(self._term())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _term(self) -> Filter:
        if self._next.is_word("NOT") or self._next.is_sign("-"):
            self._take()
            return Not(self._simple())
        return self._simple()

    def _simple(self) -> Filter:
        if not self._next.is_sign("("):
            return self._restriction()
        if self._nesting == _MAX_NESTING:
            self._fail(f"parentheses are nested more than {_MAX_NESTING} deep")
        self._take()
        self._nesting += 1
        inner = self._expression()
        self._nesting -= 1
        if not self._next.is_sign(")"):
            self._fail("expected AND, OR or a closing parenthesis")
        self._take()
        return inner

    def _restriction(self) -> Filter:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            self._fail(f"there are more than {MAX_CONDITIONS} conditions")
        field = self._field()
        if self._next.is_word("IN"):
            self._take()
            return OneOf(field, self._several())
        if not self._next.is_sign("=", "!=", "<", "<=", ">", ">=", ":"):
            self._fail(f"expected =, !=, <, <=, >, >=, : or IN after {quoted(field)}")
        sign = self._take().text
        if sign == ":" and self._next.is_sign("*"):
            self._take()
            return Exists(field)
        token = self._next
        value = self._value()
        if sign in _BOUNDS:
            if isinstance(value, bool):
                self._fail("expected a number or a date", token)
            return Range(field, **{_BOUNDS[sign]: value})
        if sign == ":" and field == _ATTRIBUTES and isinstance(value, str):
            return Exists(f"{_ATTRIBUTES}.{value}")
        return Not(Equal(field, value)) if sign == "!=" else Equal(field, value)

    def _field(self) -> str:
        first = self._next
        parts = [self._segment(first)]
        while self._next.is_sign("."):
            self._take()
            parts.append(self._segment(None))
        name = ".".join(parts)
        if len(name) > MAX_FIELD_CHARACTERS:
            self._fail(f"a field's name has at most {MAX_FIELD_CHARACTERS} characters", first)
        return name

    def _segment(self, first: _Token | None) -> str:
        """A part of a field's name; the first one cannot begin with a digit, nor be a keyword."""
        token = self._next
        kinds = ("word", "string") if first else ("word", "string", "number", "mixed")
        if token.kind not in kinds or (first and token.is_word(*_KEYWORDS)):
            self._fail("expected the name of a field")
        self._take()
        name = _unquoted(token.text) if token.kind == "string" else token.text
        if not name:
            self._fail("the name of a field is empty", token)
        return name

    def _several(self) -> tuple[Value, ...]:
        if not self._next.is_sign("("):
            self._fail("expected an opening parenthesis after IN")
        self._take()
        values = [self._value()]
        while self._next.is_sign(","):
            self._take()
            values.append(self._value())
        if not self._next.is_sign(")"):
            self._fail("expected a comma or a closing parenthesis")
        self._take()
        return tuple(values)

    def _value(self) -> Value:
        token = self._next
        if token.kind not in ("string", "word", "number", "date") or token.is_word(*_KEYWORDS):
            self._fail("expected a value")
        self._values += 1
        if self._values > MAX_VALUES:
            self._fail(f"there are more than {MAX_VALUES} values")
        self._take()
        if token.kind == "number":
            number = float(token.text)
            return number if is_finite(number) else self._fail("this number is too large", token)
        if token.kind == "date":
            return self._date(token)
        if token.is_word("true", "false"):
            return token.text == "true"
        text = _unquoted(token.text) if token.kind == "string" else token.text
        if len(text) > MAX_VALUE_CHARACTERS:
            self._fail(f"a value has at most {MAX_VALUE_CHARACTERS:,} characters", token)
        return text

    def _date(self, token: _Token) -> datetime:
        try:
            time = datetime.fromisoformat(token.text)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self._fail("there is no such date", token)


def _join_ranges(parts: Sequence[Filter]) -> list[Filter]:
    """Two bounds of one field that follow each other as one range: `price >= 20 AND price <= 30`."""
    joined: list[Filter] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(last, Range) and isinstance(part, Range) and last.field == part.field:
            names = {*last.bounds, *part.bounds}
            both = Range(last.field, **(last.bounds | part.bounds))
            if len(names & _LOW) == len(names & _HIGH) == 1 and len(names) == 2 and not range_problem(both):
                joined[-1] = both
                continue
        joined.append(part)
    return joined


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(r"\1", text[1:-1])


def _unwrapped(filter: Filter) -> Filter:
    """What a list of one holds."""
    while isinstance(filter, And | Or) and len(filter.filters) == 1:
        filter = filter.filters[0]
    return filter


def _part_text(part: Filter) -> str:
    """A part of a list, in parentheses where it is several conditions."""
    part = _unwrapped(part)
    several = isinstance(part, And | Or) or (isinstance(part, Range) and len(part.bounds) > 1)
    return f"({filter_text(part)})" if several else filter_text(part)


def _negation_text(inner: Filter) -> str:
    if isinstance(inner, Equal):
        return f"{_name_text(inner.field)} != {_value_text(inner.value)}"
    return f"NOT ({filter_text(inner)})" if isinstance(inner, Not) else f"NOT {_part_text(inner)}"


def _name_text(name: str) -> str:
    if _is_plain(name):
        return name
    prefix = f"{_ATTRIBUTES}."
    return prefix + _quoted(name.removeprefix(prefix)) if name.startswith(prefix) and name != prefix else _quoted(name)


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and name.split(".")[0] not in _KEYWORDS


def _value_text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return _quoted(value) if isinstance(value, str) else repr(float(value)).removesuffix(".0")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
