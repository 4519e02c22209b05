"""Phrases found in texts as analysis sees both: stemmed, folded, and by character where a script writes no spaces."""

import copy
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import ahocorasick
import regex
from rapidfuzz.distance import Levenshtein

from text.scripts import is_unspaced
from text.terms import Analyser, Word

Span = tuple[int, int]

# Signs that distinguish c++ and c# from c, at one side of a word; between two words they only separate.
_SIGNS_BEFORE, _SIGNS_AFTER = regex.compile(r"(?<![\w+#])[+#]+$"), regex.compile(r"[+#]++(?!\w)")
_CHARACTERS = regex.compile(r"\P{M}\p{M}*|\p{M}+")
_BEGIN, _END = "\x01", "\x02"  # around each unit: no folded text holds them


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest unit that phrases are compared by, and its place in its text."""

    key: str
    start: int
    end: int
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """Where a text holds phrases, by their numbers: one, or several that analysis takes for the same."""

    start: int
    end: int
    numbers: tuple[int, ...]


class Phrases:
    """p phrases, numbered from 0, to be found in texts by one pass of an Aho-Corasick automaton.

    For one thread at a time, as its analyser keeps state.
    """

    def __init__(self, phrases: Iterable[str], analyser: Analyser, stop_words: bool = True) -> None:
        """Without `stop_words` phrases and texts are compared by their other words, where they have any."""
        self._analyser = analyser
        self._stop_words = stop_words
        numbers: dict[str, list[int]] = {}
        for number, phrase in enumerate(phrases):
            for reading in self._readings(phrase):
                numbers.setdefault(_joined(reading), []).append(number)
        numbers.pop("", None)
        self._numbers = [tuple(dict.fromkeys(same)) for same in numbers.values()]
        self._units = [key.count(_BEGIN) for key in numbers]
        self._automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        for place, key in enumerate(numbers):
            self._automaton.add_word(key, place)
        if numbers:
            self._automaton.make_automaton()

    def __len__(self) -> int:
        return len(self._numbers)

    def by(self, analyser: Analyser) -> "Phrases":
        """The same phrases for another thread, which has this analyser of the same language."""
        other = copy.copy(self)
        other._analyser = analyser
        return other

    def find(self, text: str) -> list[Match]:
        """The leftmost phrases of a text, of those that begin at one place the longest; none overlaps another."""
        if not self._numbers:
            return []
        matches = {match for reading in self._readings(text) for match in self._matches(reading)}
        result: list[Match] = []
        for match in sorted(matches, key=lambda match: (match.start, -match.end, match.numbers)):
            if not result or match.start >= result[-1].end:
                result.append(match)
        return result

    def contained(self, text: str) -> set[int]:
        """The numbers of all phrases in a text, of those that overlap as well."""
        if not self._numbers:
            return set()
        matches = (match for reading in self._readings(text) for match in self._matches(reading))
        return {number for match in matches for number in match.numbers}

    def _matches(self, units: Sequence[Unit]) -> Iterator[Match]:
        ends, place = {}, -1
        for number, unit in enumerate(units):
            place += len(unit.key) + 2
            ends[place] = number
        for end, phrase in self._automaton.iter(_joined(units)):
            last = ends[end]
            first = units[last - self._units[phrase] + 1]
            yield Match(first.start, units[last].end, self._numbers[phrase])

    def _readings(self, text: str) -> list[list[Unit]]:
        """The text with hyphenated words split, and, where it has any, with them whole as well."""
        words = located(text, self._analyser)
        ways = (True, False) if "-" in text else (True,)
        readings = [list(_units(words, text, self._analyser, split_hyphens)) for split_hyphens in ways]
        if not self._stop_words:
            readings = [[unit for unit in reading if not unit.stop] or reading for reading in readings]
        return readings


def located(text: str, analyser: Analyser) -> list[tuple[Word, Span | None]]:
    """Each word of a text and its span; None for a word that does not occur literally, such as the whole of a size."""
    written = analyser.prepared(text)
    places = None if written == text else _places(written, text)
    result: list[tuple[Word, Span | None]] = []
    start = end = 0
    for word in analyser.words(text):
        # Pairs of characters overlap: the next begins at this one's second character.
        beside = start + 1 if is_unspaced(word.text) and written.startswith(word.text, start + 1) else end
        place = written.find(word.text, beside)
        if place < 0:
            result.append((word, None))
            continue
        start, end = place, place + len(word.text)
        result.append((word, (start, end) if places is None else (places[start][0], places[end - 1][1])))
    return result


def _places(written: str, text: str) -> list[Span]:
    """For each character of a prepared text, from where to where it stands in the text it was made of."""
    lowered = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    places: list[Span] = []
    before = 0
    for block in Levenshtein.editops(lowered, written).as_matching_blocks():
        changed = range(before, block.a)
        many = block.b - len(places)
        if len(changed) == many:
            places += [(place, place + 1) for place in changed]
        else:
            places += [(before, block.a)] * many
        places += [(place, place + 1) for place in range(block.a, block.a + block.size)]
        before = block.a + block.size
    return places


def _units(
    words: Sequence[tuple[Word, Span | None]], text: str, analyser: Analyser, split_hyphens: bool
) -> Iterator[Unit]:
    """The units of a text. `split_hyphens`: whether words of hyphens are so many units as they have pieces."""
    done = 0
    for word, span in words:
        if span is None:
            continue
        start, end = span
        if is_unspaced(word.text):
            for one in _CHARACTERS.finditer(text, max(start, done), end):
                yield Unit(unicodedata.normalize("NFKC", one[0]), one.start(), one.end())
        elif (
            split_hyphens
            and "-" in word.text
            and word.text.replace("-", "").isalpha()
            and end - start == len(word.text)
        ):
            for piece in regex.finditer("[^-]+", text, pos=start, endpos=end):
                yield Unit("".join(analyser.terms(piece[0])[:1]), piece.start(), piece.end())
        else:
            before = _SIGNS_BEFORE.search(text, done, start)
            after = _SIGNS_AFTER.match(text, end)
            signs = (before[0] if before else "", after[0] if after else "")
            start, end = start - len(signs[0]), end + len(signs[1])
            yield Unit(f"{signs[0]}{word.term}{signs[1]}", start, end, word.stop)
        done = max(done, end)


def _joined(units: Iterable[Unit]) -> str:
    return "".join(f"{_BEGIN}{unit.key}{_END}" for unit in units)
