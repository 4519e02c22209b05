"""A lexical index: BM25 of each term in each field of each product, computed beforehand and mapped from files."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.arrays import map_array
from core.errors import ReleaseError
from core.formats import LEXICAL_INDEX
from engine.lexical.alternatives import Alternative, added, added_to, holding
from engine.lexical.dictionary import COMPOUND, VOCABULARY_FILES, Terms
from engine.lexical.fresh_terms import FreshTerms
from engine.lexical.parts import PARTS_FILES, CompoundParts
from engine.lexical.postings import Postings, merge_postings, scores_at
from engine.lexical.statistics import STATISTICS_FILE, read_statistics
from engine.protocol import Candidates
from text.terms import Word

# The number changes with anything that makes another index of the same products.
FORMAT = LEXICAL_INDEX.number
# A field that is not searched: it holds one term for each unit in which a product states a quantity.
UNITS = "units"
# A field of what names a product: its id, its GTIN, and each title or attribute that is a code and nothing else.
CODES = "codes"
SYNONYMS_FILE = "synonyms.json"
# Postings that a search adds up at most, those of the rarest terms: some ten milliseconds.
_MOST_POSTINGS = 4_000_000
_MOST_SAMPLED = 4096
_SAMPLE_AHEAD = 4


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the vocabulary that a query asks for, how much it counts, and the places of the words it stands for.

    `spelling` is how texts write it where the query writes it nearly so, `errors` how many typing errors that is away.
    `scale` makes scores of a term that came with fresh products as high as its rarity among them is.
    """

    number: int
    weight: float
    words: tuple[int, ...]
    spelling: str = ""
    errors: int = 0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A query's content words and the terms that they match.

    `synonyms` has, for each phrase that has some, what it asks for in its place; `length` is how many terms a field
    holds that says the query and nothing else.

    `weights` are the words' inverse document frequencies; `units` has, by the place of a quantity, the term that stands
    in `UNITS` for every quantity of its unit, and `brands` the places of words that mostly name brands. `spellings` has
    the likely spelling of each word that is known to nobody.
    """

    words: tuple[Word, ...] = ()
    terms: tuple[QueryTerm, ...] = ()
    weights: tuple[float, ...] = ()
    units: Mapping[int, int] = field(default_factory=dict)
    brands: frozenset[int] = frozenset()
    spellings: Mapping[str, str] = field(default_factory=dict)
    synonyms: tuple[tuple[Alternative, ...], ...] = ()
    length: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What r products hold of a query of w words, over f fields, which `fields` names.

    `scores` are BM25, shape (r, f). `matched` is the weight of each word's best term in each field, shape (r, f, w).
    `conflicting_quantity`, shape (r, w), is true where a product states a quantity of a word's unit; `lengths`, shape
    (r, f), counts the terms of a field.
    """

    scores: NDArray[np.float32]
    matched: NDArray[np.float32]
    conflicting_quantity: NDArray[np.bool_]
    lengths: NDArray[np.int32]
    fields: tuple[str, ...]

    def take(self, places: NDArray[np.int64]) -> "Evidence":
        """The evidence of these products alone, in this order."""
        chosen = (self.scores[places], self.matched[places], self.conflicting_quantity[places], self.lengths[places])
        return Evidence(*chosen, self.fields)


class LexicalIndex:
    """n products, f fields. A term's score in a field is its BM25 there; a product's, the weighted sum of its terms'.

    Read by any number of threads.
    """

    def __init__(self, folder: Path, fields: Sequence[str], count: int) -> None:
        """Maps a folder that `indexer/lexical.py` wrote. Raises ReleaseError when files are missing or do not agree."""
        try:
            terms = Terms(folder)
            postings = {name: _mapped_postings(folder, name) for name in fields}
            self.statistics = read_statistics(folder, {name: one.lengths for name, one in postings.items()})
            self.parts = CompoundParts.open(folder)
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{folder} is not a lexical index: {error}; index the catalog again") from None
        if any(one.terms != len(terms) for one in postings.values()):
            raise ReleaseError(f"{folder}: its fields and its vocabulary do not agree; index the catalog again")
        self.fresh_terms = FreshTerms(len(terms))
        """Those of fresh segments over this index."""
        self._set(terms, postings, count, next(terms.beginning(COMPOUND), None) is not None)

    @classmethod
    def over(cls, base: "LexicalIndex", postings: Mapping[str, Postings], count: int) -> "LexicalIndex":
        """The words of `count` further products, in memory, with the fields, the vocabulary and the statistics of a
        base index."""
        index = cls.__new__(cls)
        index.statistics, index.parts, index.fresh_terms = base.statistics, base.parts, base.fresh_terms
        index._set(base.terms, postings, count, base.compounds)
        return index

    @classmethod
    def merge(cls, parts: "Sequence[LexicalIndex]", kept: Sequence[NDArray[np.bool_]]) -> "LexicalIndex":
        """The words of the kept products of several indexes over one base; `kept[i]` has shape (count of part i,)."""
        postings = {}
        for name in parts[0].fields:
            postings[name] = merge_postings([part.postings(name) for part in parts], kept)
            time.sleep(0)  # other threads have their turn
        index = cls.__new__(cls)
        index.statistics, index.parts, index.fresh_terms = parts[0].statistics, parts[0].parts, parts[0].fresh_terms
        index._set(parts[0].terms, postings, sum(int(np.count_nonzero(mask)) for mask in kept), parts[0].compounds)
        return index

    def _set(self, terms: Terms, postings: Mapping[str, Postings], count: int, compounds: bool) -> None:
        self.fields = tuple(postings)
        self._fields = list(postings.values())
        self.terms = terms
        self.count = count
        sparse = [one.numbers for one in self._fields if one.numbers is not None]
        self._numbers = np.unique(np.concatenate(sparse)) if sparse else None
        self.compounds = compounds
        """Whether words within compounds were noted."""

    def term(self, number: int) -> str:
        """A term by its number, whether the base has it or a fresh segment."""
        return self.terms[number] if number < self.fresh_terms.first else self.fresh_terms[number]

    def postings(self, field: str) -> Postings:
        """Those of one field."""
        return self._fields[self.fields.index(field)]

    def document_frequency(self, number: int) -> int:
        """Products that hold the term in the field where most do."""
        return max((postings.frequency(number) for postings in self._fields), default=0)

    def scale(self, number: int) -> float:
        """What a term's scores are multiplied by; see `ViewIndex`."""
        return 1.0

    def scored_frequency(self, number: int) -> int:
        """The document frequency by which a term's scores were made."""
        return self.document_frequency(number)

    def cooccurrence_weight(self, number: int, others: Mapping[int, float]) -> float:
        """The summed weights of other terms, by number, over the products that hold this one; of the field with most.

        Without others, how many products hold it. Of very many products, an even sample speaks for all.
        """
        postings = max(self._fields, key=lambda postings: postings.frequency(number))
        rows = postings.lookup(number)[0].astype(np.int64)
        if not others:
            return float(len(rows))
        step = -(-len(rows) // _MOST_SAMPLED)
        rows = rows[:: max(step, 1)]
        total = sum(weight * np.count_nonzero(postings.at(other, rows)) for other, weight in others.items())
        return float(total * max(step, 1))

    def holding(self, numbers: Sequence[int]) -> int:
        """Products that hold all of these terms, close to one another, in the field where most do."""
        return max((len(holding(numbers, postings)) for postings in self._fields), default=0)

    def sample_holding(self, numbers: Sequence[int], most: int) -> NDArray[np.int64]:
        """Rows, at most `most` and evenly taken, of the products that hold all of these terms, each in any field."""
        if not numbers:
            return np.zeros(0, np.int64)
        rarest = min(numbers, key=lambda number: sum(postings.frequency(number) for postings in self._fields))
        parts = [postings.lookup(rarest)[0] for postings in self._fields]
        step = max(-(-max(map(len, parts)) // (_SAMPLE_AHEAD * most)), 1)  # most fields repeat what one of them holds
        rows = np.unique(np.concatenate([part[::step] for part in parts])).astype(np.int64)
        for number in numbers:
            if number != rarest and len(rows):
                rows = rows[np.any([postings.at(number, rows) > 0 for postings in self._fields], 0)]
        return rows[:: max(-(-len(rows) // most), 1)]

    def search(
        self,
        terms: Sequence[QueryTerm],
        weights: Mapping[str, float],
        k: int,
        synonyms: Sequence[Sequence[Alternative]] = (),
        allowed: NDArray[np.bool_] | None = None,
    ) -> Candidates:
        """The k best products by the fields' weighted scores, best first, of those that the mask, shape (count,),
        allows; products that share no term are left out.

        Of very many postings, those of the commonest terms, which discriminate least, are left out.
        """
        totals = self._totals(self._present(self.affordable(terms)), weights, synonyms)
        if allowed is not None:
            totals[~allowed] = 0
        best = _best(totals, k)
        return Candidates(best, totals[best])

    def matches(
        self, query: LexicalQuery, weights: Mapping[str, float], terms: Sequence[QueryTerm] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How much of the query each product holds, 0 to 1, and its score as `search` gives it; both of shape (count,).

        The share is that of the inverse document frequencies of words that some product holds; a word counts as much as
        its best term in any field. Of very many postings, those of the commonest terms are left out, as in `search`;
        `terms` are those that are left, where that is known.
        """
        terms = self._present(self.affordable(query.terms) if terms is None else terms)
        covered = np.zeros(self.count, np.float32)
        known = {place for term in query.terms for place in term.words}
        known |= {place for alternatives in query.synonyms for one in alternatives for place in one.words}
        total = max(sum(query.weights[place] for place in known), 1e-6)
        for place in sorted(known):
            covered += self._held(place, terms, query) * np.float32(query.weights[place] / total)
        return covered, self._totals(terms, weights, query.synonyms)

    def _held(self, word: int, terms: Sequence[QueryTerm], query: LexicalQuery) -> NDArray[np.float32]:
        """How much of one word each product holds, 0 to 1, shape (count,)."""
        held = np.zeros(self.count, np.float32)
        of_word = [(term.number, np.float32(min(term.weight, 1))) for term in terms if word in term.words]
        phrases = [one for alternatives in query.synonyms for one in alternatives if word in one.words]
        for name, postings in zip(self.fields, self._fields, strict=True):
            if name == UNITS:
                continue
            for number, weight in of_word:
                rows = postings.lookup(number)[0]
                held[rows] = np.maximum(held[rows], weight)
            for one in phrases:
                together = holding(one.numbers, postings)
                held[together] = np.maximum(held[together], np.float32(min(one.weight, 1)))
        return held

    def _totals(
        self, terms: Sequence[QueryTerm], weights: Mapping[str, float], synonyms: Sequence[Sequence[Alternative]]
    ) -> NDArray[np.float32]:
        totals = np.zeros(self.count, np.float32)
        for name, postings in zip(self.fields, self._fields, strict=True):
            if weight := weights.get(name, 0.0):
                for term in terms:
                    rows, scores = postings.lookup(term.number)
                    if not len(rows):
                        continue
                    totals[rows] += scores * np.float32(weight * term.weight * term.scale)
                for alternatives in synonyms:
                    more, extra = added(alternatives, terms, postings)
                    totals[more] += extra * np.float32(weight)
        return totals

    def evidence(self, query: LexicalQuery, rows: NDArray[np.int64]) -> Evidence:
        """What r products hold of the query, whether or not a search found them."""
        shape = (len(rows), len(self.fields))
        scores = np.zeros(shape, np.float32)
        matched = np.zeros((*shape, len(query.words)), np.float32)
        lengths = np.zeros(shape, np.int32)
        terms = self._present(query.terms)
        for place, postings in enumerate(self._fields):
            lengths[:, place] = postings.lengths[rows]
            for term in terms:
                holders, own = postings.lookup(term.number)
                if not len(holders):
                    continue
                values = scores_at(holders, own, rows)
                scores[:, place] += np.float32(term.weight * term.scale) * values
                weight = (values > 0) * np.float32(term.weight)
                for word in term.words:
                    np.maximum(matched[:, place, word], weight, out=matched[:, place, word])
            for alternatives in query.synonyms:
                extra, held = added_to(alternatives, query.terms, postings, rows)
                scores[:, place] += extra
                for one, mask in held:
                    for word in one.words:
                        np.maximum(matched[:, place, word], mask * np.float32(one.weight), out=matched[:, place, word])
        return Evidence(scores, matched, self._rivals(query, rows), lengths, self.fields)

    def _present(self, terms: Sequence[QueryTerm]) -> Sequence[QueryTerm]:
        """The terms that some product holds; all of them where that takes as long as looking them up."""
        if self._numbers is None or not terms or not len(self._numbers):
            return terms if self._numbers is None else ()
        wanted = np.array([term.number for term in terms])
        places = np.minimum(self._numbers.searchsorted(wanted), len(self._numbers) - 1)
        there = self._numbers[places] == wanted
        return [term for term, held in zip(terms, there.tolist(), strict=True) if held]

    def affordable(self, terms: Sequence[QueryTerm]) -> Sequence[QueryTerm]:
        """The terms whose postings a search adds up."""
        if sum(len(postings.rows) for postings in self._fields) <= _MOST_POSTINGS:
            return terms
        costs = [sum(postings.frequency(term.number) for postings in self._fields) for term in terms]
        if sum(costs) <= _MOST_POSTINGS:
            return terms
        order = np.argsort(costs, kind="stable")
        kept = order[np.cumsum(np.array(costs)[order]) <= _MOST_POSTINGS]
        return [terms[place] for place in sorted(kept.tolist() or [int(order[0])])]

    def named_in(self, field: str, number: int) -> int:
        """Products that hold the term in this field; 0 where there is no such field."""
        return self._fields[self.fields.index(field)].frequency(number) if field in self.fields else 0

    def _rivals(self, query: LexicalQuery, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        conflicting_quantity = np.zeros((len(rows), len(query.words)), bool)
        if UNITS in self.fields:
            units = self._fields[self.fields.index(UNITS)]
            for word, number in query.units.items():
                conflicting_quantity[:, word] = units.at(number, rows) > 0
        return conflicting_quantity


def _mapped_postings(folder: Path, field: str) -> Postings:
    ends, rows, scores, lengths = (map_array(folder / name) for name in field_files(field))
    return Postings(ends, rows, scores, lengths)


def field_files(field: str) -> tuple[str, str, str, str]:
    """The names of a field's files: where each term's postings end, their rows, their scores; each product's length."""
    return f"{field}_ends.npy", f"{field}_rows.npy", f"{field}_scores.npy", f"{field}_lengths.npy"


def lexical_files(fields: Sequence[str]) -> tuple[str, ...]:
    """All files of an index."""
    return (
        SYNONYMS_FILE,
        STATISTICS_FILE,
        *PARTS_FILES,
        *VOCABULARY_FILES,
        *(name for one in fields for name in field_files(one)),
    )


def _best(totals: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Rows of the k highest scores above 0, best first, equal ones in the order of their rows."""
    rows = np.flatnonzero(totals > 0)
    if len(rows) > k:
        # Equal scores at the border: the lowest rows stay, so that an answer does not hang on the partition.
        border = np.partition(totals[rows], len(rows) - k)[len(rows) - k]
        above, at = rows[totals[rows] > border], rows[totals[rows] == border]
        rows = np.sort(np.concatenate([above, at[: k - len(above)]]))
    return rows[np.argsort(-totals[rows], kind="stable")]
