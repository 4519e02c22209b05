"""Reads which synonyms a query's words have, as terms of a lexical index."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

from cachetools import LRUCache, cachedmethod

from engine.lexical.alternatives import Alternative
from engine.lexical.index import LexicalIndex
from text.phrases import Match, Phrases, located
from text.synonyms import Synonyms
from text.terms import Analyser, Word

# Chosen on Home Depot's validation queries.
_WEIGHT = 0.8
_GROUPS_READ = 4096
# What a query costs is bounded by this: the alternatives that most products hold.
_MOST = 32


class SynonymReader:
    """Finds the phrases of a shop's synonyms in queries, for one thread at a time: its analyser keeps state."""

    def __init__(self, index: LexicalIndex, analyser: Analyser, synonyms: Synonyms) -> None:
        """Takes some 50 µs a phrase."""
        self._index = index
        self._analyser = analyser
        self._groups = synonyms.groups
        self._group_of = [group for group, phrases in enumerate(synonyms.groups) for _ in phrases]
        self._phrases = Phrases((phrase for group in synonyms.groups for phrase in group), analyser, stop_words=False)
        self._read_groups: LRUCache[int, list[list[Word]]] = LRUCache(_GROUPS_READ)

    def over(self, index: LexicalIndex) -> "SynonymReader":
        """The same for another index."""
        other = copy.copy(self)
        other._index = index
        return other

    def read(self, text: str, words: Sequence[Word]) -> list[list[Alternative]]:
        """For each phrase of the query that has synonyms, the alternatives that products hold, not yet scaled.

        `words` are the query's content words; an alternative's places are indices into them.
        """
        matches = self._phrases.find(text)
        if not matches:
            return []
        places = {word.term: place for place, word in enumerate(words)}
        spans = [(word.term, span) for word, span in located(text, self._analyser) if span]
        groups = []
        for match in matches:
            inside = {term for term, (start, end) in spans if start >= match.start and end <= match.end}
            # Of Chinese, a phrase may begin or end in the midst of what was taken for a word.
            within = inside or {term for term, (start, end) in spans if start < match.end and end > match.start}
            groups.append(self._alternatives(match, sorted(places[term] for term in within & places.keys()), words))
        best = sorted((one for ones in groups for one in ones), key=lambda one: -one.frequency)[:_MOST]
        return [[one for one in ones if one in best] for ones in groups]

    def scaled(
        self, groups: Sequence[Sequence[Alternative]], weights: Sequence[float]
    ) -> tuple[tuple[Alternative, ...], ...]:
        """The alternatives, each to count as much as the words it stands for, of which `weights` has the inverse
        document frequencies."""

        def scale(one: Alternative) -> float:
            own = sum(map(self._rarity, one.counted))
            return one.weight * sum(weights[place] for place in one.words) / max(own, 1e-6)

        return tuple(tuple(replace(one, scale=scale(one)) for one in ones) for ones in groups if ones)

    def _alternatives(self, match: Match, places: Sequence[int], words: Sequence[Word]) -> list[Alternative]:
        own = {place: self._index.terms.find(words[place].term) for place in places}
        groups: dict[tuple[int, ...], Alternative] = {}
        for group in dict.fromkeys(self._group_of[number] for number in match.numbers):
            for numbers in self._analysed(group):
                counted = tuple(number for number in numbers if number not in own.values())
                missed = tuple(place for place, number in own.items() if number not in numbers)
                if counted and missed and (frequency := self._index.holding(numbers)):
                    groups[numbers] = Alternative(numbers, counted, missed, _WEIGHT, frequency=frequency)
        return list(groups.values())

    def _analysed(self, group: int) -> list[tuple[int, ...]]:
        """Each phrase of a group as terms; phrases without a word that any product holds are left out."""
        analysed = map(self._numbers, self._words_of(group))
        return [numbers for numbers in dict.fromkeys(analysed) if numbers]

    # Not functools' cache around a bound method: with such a cycle a replaced release's index would stay.
    @cachedmethod(lambda self: self._read_groups)
    def _words_of(self, group: int) -> list[list[Word]]:
        """The content words of each phrase of a group."""
        return [self._analyser.content(phrase) for phrase in self._groups[group]]

    def _numbers(self, words: Sequence[Word]) -> tuple[int, ...]:
        result: list[int] = []
        for word in words:
            whole = self._index.terms.find(word.term)
            parts = [whole] if whole is not None else [self._index.terms.find(part) for part in word.parts]
            known = [part for part in parts if part is not None]
            if not known or len(known) < len(parts):
                return ()
            result += known
        return tuple(dict.fromkeys(result))

    def _rarity(self, number: int) -> float:
        held = self._index.scored_frequency(number)
        return math.log(1 + (self._index.count - held + 0.5) / (held + 0.5))
