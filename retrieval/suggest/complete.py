"""Completes what is typed, or what was meant by it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product

from engine.suggest.index import UNLIKELY, Rows, SuggestionEntry, SuggestionIndex

# A correction is offered where nothing is known as typed, or where it is so many times likelier.
_SURELY = 50.0
# Letters of a word that is corrected although something begins so: with fewer, most that is typed is just rare.
_LEAST_KNOWN = 5
_MOST_CORRECTED = 2  # words
_MOST_PHRASES = 24  # that are tried as corrections
_MOST_SCATTERED = 500  # suggestions looked at for words in another order
_MOST_WORDS = 16


@dataclass(frozen=True, slots=True)
class Completions:
    """Suggestions, best first, and what was completed where it is not what was typed."""

    suggestions: list[SuggestionEntry]
    corrected: str = ""


def complete(index: SuggestionIndex, key: str, limit: int) -> Completions:
    """Completes a key (see `text.completion.prefix_key`); an empty one by what is likeliest of all.

    What is typed comes first; a correction takes its place only as a whole, and is named.
    """
    if not key:
        return Completions(_entries(index, (number for number, _ in index.best(index.rows, limit))))
    typed = _matching(index, key, limit)
    support = index.support(index.beginning(key))
    if not typed or 0 < _SURELY * support < index.support(index.rows):
        phrase, likelihood = _correction(index, key, _LEAST_KNOWN if typed else 1)
        if phrase and (not typed or likelihood > _SURELY * support):
            return Completions(_entries(index, _matching(index, phrase, limit)), phrase)
    return Completions(_entries(index, typed))


def _matching(index: SuggestionIndex, key: str, limit: int) -> list[int]:
    """Entries that have the key's words in a row, then those that have them in another order."""
    result = dict.fromkeys(number for number, _ in index.best(index.beginning(key), limit))
    if len(result) < limit and " " in key.strip():
        result |= dict.fromkeys(islice(_scattered(index, key), limit))
    return list(result)[:limit]


def _scattered(index: SuggestionIndex, key: str) -> Iterator[int]:
    """Entries that have all the whole words, and one more that begins with the last, wherever they stand."""
    *whole, last = key.split(" ")[:_MOST_WORDS]
    spans = [list(index.word(word)) for word in whole] + ([[index.beginning(last)]] if last else [])
    rarest = min(spans, key=lambda rows: sum(end - start for start, end in rows))
    entries = {number for rows in rarest for number, _ in index.best(rows, _MOST_SCATTERED)}
    for number in sorted(entries, key=lambda number: (-index.weight(number), number)):
        words = index.key(number).split(" ")
        rest = list(words)
        if all(_take(rest, word) for word in whole) and (not last or any(word.startswith(last) for word in rest)):
            yield number


def _take(words: list[str], word: str) -> bool:
    if word in words:
        words.remove(word)
        return True
    return False


def _correction(index: SuggestionIndex, key: str, least: int) -> tuple[str, float]:
    """The phrase that is likeliest meant and its support after what its errors cost; empty where none is known.

    Words of fewer than `least` letters stay."""
    phrases = islice(_phrases(index, key.split(" "), least), _MOST_PHRASES)
    best, most = "", 0.0
    scattered: list[tuple[float, str]] = []
    for phrase, cost in phrases:
        likelihood = index.support(index.beginning(phrase)) * math.exp(-UNLIKELY * (cost - 1))
        if likelihood > most:
            best, most = phrase, likelihood
        scattered.append((cost, phrase))
    if best:
        return best, most
    for _, phrase in sorted(scattered)[:3]:
        if " " in phrase.strip() and next(_scattered(index, phrase), None) is not None:
            return phrase, 0.0
    return "", 0.0


def _phrases(index: SuggestionIndex, words: list[str], least: int) -> Iterator[tuple[str, float]]:
    """The words with one of them corrected, or with all that nothing is known of; each with what its errors cost."""
    last = len(words) - 1
    unknown = [
        place for place, word in enumerate(words[:_MOST_WORDS]) if word and not _known(index, word, place < last)
    ]
    if len(unknown) > _MOST_CORRECTED:
        return
    if len(unknown) == _MOST_CORRECTED:
        ways = product(*(index.alike(words[place], place < last) for place in unknown))
        for chosen in sorted(ways, key=lambda chosen: sum(one.cost for one in chosen)):
            yield _replaced(words, unknown, [one.letters for one in chosen]), sum(one.cost for one in chosen)
        return
    for place in unknown or range(min(len(words), _MOST_WORDS)):
        for one in index.alike(words[place], place < last) if len(words[place]) >= least else ():
            yield _replaced(words, [place], [one.letters]), one.cost


def _known(index: SuggestionIndex, word: str, whole: bool) -> bool:
    spans: Iterable[Rows] = index.word(word) if whole else [index.beginning(word)]
    return any(end > start for start, end in spans)


def _replaced(words: list[str], places: list[int], letters: list[str]) -> str:
    changed = list(words)
    for place, new in zip(places, letters, strict=True):
        changed[place] = new
    return " ".join(changed)


def _entries(index: SuggestionIndex, numbers: Iterable[int]) -> list[SuggestionEntry]:
    return [index.entry(number) for number in numbers]
