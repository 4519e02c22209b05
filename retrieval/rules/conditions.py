"""Finds which rules a query matches, by one pass over the query for each kind of condition."""

import contextlib
import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from core.rules import Rule, compile_pattern
from core.strings import query_key
from text.phrases import Phrases
from text.terms import Analyser

_GROUP = 32  # patterns that are searched for at once


class QueryConditions:
    """The conditions on queries of r rules, numbered from 0. For one thread at a time, as its analyser keeps state."""

    def __init__(self, rules: Sequence[Rule], language: str) -> None:
        """`language` is that of the analysis (BCP 47). Takes some 50 µs a phrase."""
        self._language = language
        analyser = Analyser(language)
        self._exact: dict[str, list[int]] = defaultdict(list)
        phrases: list[str] = []
        self._of_phrase: list[int] = []
        for number, rule in enumerate(rules):
            for query in rule.when.queries or ():
                self._exact[query_key(query)].append(number)
            for phrase in rule.when.phrases or ():
                phrases.append(phrase)
                self._of_phrase.append(number)
        self._phrases = Phrases(phrases, analyser)
        self._words = _WordSets(
            ((number, text) for number, rule in enumerate(rules) for text in rule.when.words or ()), analyser
        )
        self._patterns = _Patterns(
            (number, pattern) for number, rule in enumerate(rules) for pattern in rule.when.patterns or ()
        )

    def apart(self) -> "QueryConditions":
        """The same for another thread."""
        other, analyser = copy.copy(self), Analyser(self._language)
        other._phrases, other._words = self._phrases.by(analyser), self._words.by(analyser)
        return other

    def matching(self, text: str) -> set[int]:
        """The rules of which a condition on the query holds."""
        numbers = set(self._exact.get(query_key(text), ())) if self._exact else set()
        numbers.update(self._of_phrase[phrase] for phrase in self._phrases.contained(text))
        numbers.update(self._words.matching(text))
        numbers.update(self._patterns.matching(text))
        return numbers


class _WordSets:
    """Sets of words, each found by the one of its words that the fewest sets have."""

    def __init__(self, texts: Iterable[tuple[int, str]], analyser: Analyser) -> None:
        self._analyser = analyser
        sets = [(number, frozenset(word.term for word in analyser.content(text))) for number, text in texts]
        counts: dict[str, int] = defaultdict(int)
        for _, terms in sets:
            for term in terms:
                counts[term] += 1
        self._by_term: dict[str, list[tuple[int, frozenset[str]]]] = defaultdict(list)
        for number, terms in sets:
            if terms:
                self._by_term[min(terms, key=lambda term: (counts[term], term))].append((number, terms))

    def by(self, analyser: Analyser) -> "_WordSets":
        other = copy.copy(self)
        other._analyser = analyser
        return other

    def matching(self, text: str) -> set[int]:
        if not self._by_term:
            return set()
        there = set(self._analyser.terms(text))
        return {number for term in there for number, terms in self._by_term.get(term, ()) if terms <= there}


class _Patterns:
    """Regular expressions, in groups that are looked into where one of their patterns is in the text."""

    def __init__(self, patterns: Iterable[tuple[int, str]]) -> None:
        there = list(patterns)
        groups = [there[start : start + _GROUP] for start in range(0, len(there), _GROUP)]
        self._groups = [
            (_joined([pattern for _, pattern in group]), [(number, compile_pattern(one)) for number, one in group])
            for group in groups
        ]

    def matching(self, text: str) -> set[int]:
        return {
            number
            for any_of, group in self._groups
            if any_of is None or any_of.search(text)
            for number, pattern in group
            if pattern.search(text)
        }


def _joined(patterns: Sequence[str]) -> Any:
    """What matches where one of the patterns does; None where they are too large for one program."""
    with contextlib.suppress(ValueError):
        return compile_pattern("|".join(f"(?:{pattern})" for pattern in patterns))
    return None
