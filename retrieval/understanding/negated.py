"""Which products have what a query negates, by the lexical index and by the products' own words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.product import MOST_ATTRIBUTES
from catalog.view import CatalogView
from engine.lexical.compounds import HEAD
from engine.lexical.dictionary import COMPOUND
from engine.lexical.index import Evidence, LexicalIndex, LexicalQuery
from engine.lexical.segments import evidence_of_view
from text.negation import affirmed
from text.terms import Analyser

NAMED, DESCRIBED = 1.0, 0.5
"""How much a product conflicts with a negation that its names or facts hold, and one that its description holds."""
_LEVELS = {"title": NAMED, "brand": NAMED, "product_type": NAMED, "attributes": NAMED, "description": DESCRIBED}
_MOST_READ = 5_000  # texts; those of all candidates of a request are far fewer
_FACTS = ("color", "size", "material")


class NegationReader:
    """For one thread at a time: analysers keep state."""

    def __init__(
        self, index: LexicalIndex, language: str, parse: Callable[[str, CatalogView | None], LexicalQuery]
    ) -> None:
        """`parse` reads a text as a query to a view over the index; `language` is the catalog's (BCP 47)."""
        self._index = index
        self._language = language
        self._parse = parse
        self._analyser = Analyser(language)

    def conflicts(
        self, phrases: Sequence[str], rows: NDArray[np.int64], view: CatalogView | None
    ) -> NDArray[np.float32]:
        """How much each of r products has what the phrases name, shape (r,): `NAMED`, `DESCRIBED` or 0.

        A field that says that the product lacks it does not count, of the first 5,000 that are read.
        """
        result = np.zeros(len(rows), np.float32)
        reads = _MOST_READ
        for phrase in phrases:
            query = _as_written(self._parse(phrase, view))
            if not query.words:
                continue
            evidence = evidence_of_view(self._index, view, query, rows)
            held = _held(evidence)
            for place, level in enumerate(_LEVELS.get(field, 0) for field in evidence.fields):
                for at in np.flatnonzero(held[:, place] & (result < level)).tolist():
                    field, row = evidence.fields[place], int(rows[at])
                    reads -= 1
                    if view is None or reads < 0 or self._holds(query, phrase, field, row, view):
                        result[at] = level
        return result

    def _holds(self, query: LexicalQuery, phrase: str, field: str, row: int, view: CatalogView) -> bool:
        """Whether a field of a product holds the phrase without what it denies."""
        texts = [text for text in _texts(field, row, view) if text]
        kept = [affirmed(text, self._language, phrase) for text in texts]
        if kept == texts:
            return True
        terms = {term for text in kept for word in self._analyser.words(text) for term in word.all_terms}
        return all(self._among(query, place, terms) for place in range(len(query.words)))

    def _among(self, query: LexicalQuery, place: int, terms: set[str]) -> bool:
        """Whether the terms hold a word of the query, or a compound made with it."""
        for term in query.terms:
            if place in term.words:
                name = self._index.term(term.number)
                part = name.strip(COMPOUND)
                if name in terms or (part != name and any(part in one for one in terms)):
                    return True
        return any(one.words == (place,) for one in chain.from_iterable(query.synonyms))


def _as_written(query: LexicalQuery) -> LexicalQuery:
    """The query without words that are only spelt like its own, where its own are known: 'arms' negates no 'army'."""
    known = {place for term in query.terms if not term.errors for place in term.words}
    terms = tuple(term for term in query.terms if not (term.errors and known.issuperset(term.words)))
    return replace(query, terms=terms)


def _held(evidence: Evidence) -> NDArray[np.bool_]:
    """Which fields hold all words as a whole, or a compound that ends with one; shape (r, f)."""
    return np.asarray((evidence.matched >= np.float32(HEAD)).all(2))


def _texts(field: str, row: int, view: CatalogView) -> Iterator[str | None]:
    if field != "attributes":
        yield view.row(row, (field,))[field]
        return
    facts: Mapping[str, Any] = view.row(row, _FACTS)
    yield from (facts[name] for name in _FACTS)
    yield from (value for _, value in view.attributes(row, MOST_ATTRIBUTES))
