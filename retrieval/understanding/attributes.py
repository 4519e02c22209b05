"""The attributes that a query states: brand, colour, size, material, further facts, and numbers with a unit.

Words are matched against the values of the catalog's typed columns, the longest first: 'black and decker' is a brand
and no colour. Whether 'orange' is meant as a colour is read from the products that hold the query's words: few of those
with 'orange' and 'juice' have the colour.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.columns import ATTRIBUTES, Column, Columns, Kind
from engine.lexical.index import LexicalIndex
from retrieval.understanding.result import StatedAttribute
from text.quantities import number
from text.terms import Analyser, Word

_FIELDS = ("brand", "color", "size", "material")
# Bounds of the dictionary, and of what one query costs.
_MOST_VALUES, _MOST_OF_FIELD, _LONGEST, _MOST_OPTIONS = 200_000, 5_000, 5, 6
_MOST_WORDS, _MOST_ROWS = 32, 256
# Words ahead of a size that is a number or a letter; others name no size.
_SIZES = frozenset(("size", "größe", "groesse", "gr", "taille", "talla", "taglia", "maat", "tamanho", "storlek"))
# The probability that a value is meant, as log-odds, by the share of matching products that have it, and the words it
# has. Fitted on queries made of products (`benchmarks/understanding.py`).
_BIAS, _BY_SHARE, _BY_LENGTH = 1.1, 1.4, 2.0
_NEARLY = 0.7
_LEAST = 0.2  # below, nothing is reported


@dataclass(frozen=True, slots=True)
class _Option:
    field: str
    column: Column
    code: int
    value: str
    number: float | None = None

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of r products have the value, shape (r,)."""
        return has_value(self.column, self.code, self.number, rows)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for one option: the share of the matching products that have it, how many those are, its words."""

    share: float
    products: int
    words: int

    @property
    def log_odds(self) -> float:
        """The log-odds of the share, with half a product for and against."""
        have = self.share * self.products
        return math.log((have + 0.5) / (self.products - have + 0.5))

    @property
    def confidence(self) -> float:
        """The probability that it is meant."""
        return 1 / (1 + math.exp(-(_BIAS + _BY_SHARE * self.log_odds + _BY_LENGTH * (self.words - 1))))


def has_value(column: Column, code: int, number: float | None, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of r products have the number, where one is given, else the value of this code; shape (r,)."""
    if number is not None:
        return np.asarray(np.isclose(column.numbers[rows], number))
    if code < 0:
        return np.zeros(len(rows), bool)
    if column.kind is Kind.strings:
        codes, ends = column.codes, column.offsets
        return np.array([code in codes[ends[row] : ends[row + 1]] for row in rows.tolist()], bool)
    return np.asarray(column.codes[rows] == code)


class AttributeReader:
    """For one thread at a time: analysers keep state."""

    def __init__(self, index: LexicalIndex, language: str, columns: Columns) -> None:
        """`columns` are of the products of the index; `language` is theirs (BCP 47)."""
        self._index = index
        self._analyser = Analyser(language)
        self._values: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
        self._units: dict[str, list[str]] = defaultdict(list)
        self._columns = columns
        self._entries = 0
        for name in sorted(columns.names, key=lambda name: (name not in _FIELDS, name)):
            self._add(name, columns.column(name))

    def read(self, text: str) -> tuple[StatedAttribute, ...]:
        """What the query states, in the order of its words."""
        return tuple(
            StatedAttribute(option.field, option.value, words, round(evidence.confidence, 4), option.number)
            for option, words, evidence in self.options(text)
            if evidence.share and evidence.confidence >= _LEAST
        )

    def options(self, text: str, without: int = -1) -> Iterator[tuple[_Option, str, Evidence]]:
        """For each run of words that names values, the likeliest value, the words and what speaks for it; a product
        that the query was made of is left out by its row."""
        words = self._analyser.words(text)[:_MOST_WORDS]
        held = {place: self._index.terms.find(word.term) for place, word in enumerate(words) if not word.stop}
        matching: NDArray[np.int64] | None = None
        start = 0
        while start < len(words):
            end, options = self._longest(words, start)
            if options:
                if matching is None:
                    matching = self._holding(held, range(len(words)), without)
                own = matching if len(matching) else self._holding(held, range(start, end), without)
                best, evidence = _likeliest(options, own, end - start)
                yield best, " ".join(word.text for word in words[start:end]), evidence
            start = max(end, start + 1)

    def _add(self, name: str, column: Column) -> None:
        if name not in _FIELDS and not name.startswith(ATTRIBUTES):
            return
        if column.kind is Kind.number and column.unit:
            self._units[column.unit].append(name)
        if column.kind not in (Kind.string, Kind.strings) or (name != "brand" and len(column.values) > _MOST_OF_FIELD):
            return
        for code, value in enumerate(column.values):
            if self._entries >= _MOST_VALUES:
                return
            key = tuple(word.term for word in self._analyser.words(value[:100])[: _LONGEST + 1])
            if 0 < len(key) <= _LONGEST and self._says_something(name, key):
                self._values[key].append((name, code))
                self._entries += 1

    def _says_something(self, name: str, key: tuple[str, ...]) -> bool:
        """Whether the words alone may name the value: a letter or a number does so only of sizes, behind 'size'."""
        if name == "size":
            return True
        return any(len(term) > 1 and not term.isdigit() and not self._analyser.is_stop_word(term) for term in key)

    def _longest(self, words: Sequence[Word], start: int) -> tuple[int, list[_Option]]:
        for end in range(min(len(words), start + _LONGEST), start, -1):
            key = tuple(word.term for word in words[start:end])
            if options := [
                self._option(field, code)
                for field, code in self._values.get(key, ())[:_MOST_OPTIONS]
                if field != "size" or self._is_size(words, start, key)
            ]:
                return end, options
        if unit := words[start].unit:
            value = float(words[start].parts[0])
            written = f"{number(value)} {unit}"
            fields = self._units.get(unit, ())[:_MOST_OPTIONS]
            return start + 1, [_Option(name, self._columns.column(name), -1, written, value) for name in fields]
        return start, []

    @staticmethod
    def _is_size(words: Sequence[Word], start: int, key: tuple[str, ...]) -> bool:
        return any(len(term) > 2 and not term[0].isdigit() for term in key) or (
            start > 0 and words[start - 1].text in _SIZES
        )

    def _option(self, field: str, code: int) -> _Option:
        column = self._columns.column(field)
        return _Option(field, column, code, column.values[code])

    def _holding(self, held: Mapping[int, int | None], places: range, without: int) -> NDArray[np.int64]:
        """A sample of the products that hold the words at these places, but for one."""
        terms = [term for place, term in held.items() if place in places and term is not None]
        rows = self._index.sample_holding(terms, _MOST_ROWS)
        return rows[rows != without]


def _likeliest(options: Sequence[_Option], rows: NDArray[np.int64], words: int) -> tuple[_Option, Evidence]:
    """By the share of the matching products that have the value; of shares nearly alike, the first option's."""
    shares = [float(option.has(rows).mean()) if len(rows) else 0.0 for option in options]
    best = next(place for place, share in enumerate(shares) if share >= _NEARLY * max(shares))
    return options[best], Evidence(shares[best], len(rows), words)


class _NoAttributes:
    """Reads nothing."""

    def read(self, text: str) -> tuple[StatedAttribute, ...]:
        return ()


NO_ATTRIBUTES = _NoAttributes()
"""Of a release without typed columns."""
