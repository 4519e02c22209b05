"""The lexical retriever of a release, on a thread of its own."""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.expiry import check_expiry, on_thread
from engine.lexical.index import Evidence, LexicalIndex, LexicalQuery
from engine.lexical.query_parser import LexicalQueryParser, ViewParser
from engine.lexical.segments import evidence_of_view, matches_in_view, search_view
from engine.protocol import Candidates, DeadlineExceeded
from retrieval.understanding.attributes import NO_ATTRIBUTES, AttributeReader
from retrieval.understanding.negated import NegationReader
from retrieval.understanding.result import StatedAttribute
from text.rewrites import Rewriter
from text.synonyms import Synonyms

_KEPT = 256  # queries whose attributes are kept
_WORD = re.compile(r"\w+")
_Result = TypeVar("_Result")


class LexicalFailed(Exception):
    """The lexical source could not answer."""


@dataclass(frozen=True, slots=True)
class LexicalMatches:
    """The query as it was parsed, the products that match it, and the attributes that it states."""

    query: LexicalQuery
    candidates: Candidates
    attributes: tuple[StatedAttribute, ...] = ()


class LexicalRetriever:
    """Searches a lexical index off the event loop. It has one thread, since parsing a query keeps state."""

    def __init__(
        self,
        index: LexicalIndex,
        language: str,
        weights: Mapping[str, float],
        synonyms: Synonyms | None = None,
        is_word: Callable[[str], bool] = lambda _: False,
        attributes: AttributeReader | None = None,
    ) -> None:
        """`weights` are the fields'; `language` is the one that the catalog was indexed in (BCP 47).

        `is_word` returns whether a text is a word of the language, whose spelling is right; `attributes` reads what
        queries state, where the release has typed columns.
        """
        self.index = index
        self._read = lru_cache(_KEPT)((attributes or NO_ATTRIBUTES).read)
        self._rewriter = Rewriter((synonyms or Synonyms()).rewrites, language)
        self._parser = ViewParser(LexicalQueryParser(index, language, synonyms, is_word), index)
        self._parse = self._parser.read
        self._negations = NegationReader(index, language, self._parse)
        self._weights = dict(weights)
        self._fields = np.array([self._weights.get(field, 0.0) for field in index.fields], np.float32)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="words")

    async def apply_rewrites(self, text: str) -> str:
        """The query after the release's rewrites. Raises LexicalFailed."""
        return await self._run(lambda: self._rewriter.rewrite(text)) if self._rewriter else text

    async def correct_spelling(self, text: str, view: CatalogView | None = None) -> str:
        """The query with likelier spellings of words that no product holds. Raises LexicalFailed."""
        return await self._run(lambda: apply_spellings(text, self._parse(text, view).spellings))

    async def search(
        self, text: str, k: int, view: CatalogView | None = None, selection: Selection | None = None
    ) -> LexicalMatches:
        """The k best products of the view, or of a selection of it; without a view, of the base segment. Raises
        LexicalFailed."""

        def work() -> LexicalMatches:
            query = self._parse(text, view)
            check_expiry()
            candidates = search_view(self.index, view, query, self._weights, k, selection)
            return LexicalMatches(query, candidates, self._read(text))

        return await self._run(work)

    async def attributes(self, text: str) -> tuple[StatedAttribute, ...]:
        """The attributes that a query states. Raises LexicalFailed."""
        return await self._run(lambda: self._read(text))

    async def matches(self, text: str, view: CatalogView) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How much of the query each product of the view holds, 0 to 1, and its score; both of shape (rows,). Raises
        LexicalFailed."""
        return await self._run(lambda: matches_in_view(self.index, view, self._parse(text, view), self._weights))

    async def evidence(self, query: LexicalQuery, rows: NDArray[np.int64], view: CatalogView | None = None) -> Evidence:
        """What r products of the view hold of the query, retrieved by it or not. Raises LexicalFailed."""
        return await self._run(lambda: evidence_of_view(self.index, view, query, rows))

    async def conflicts(
        self, phrases: Sequence[str], rows: NDArray[np.int64], view: CatalogView | None = None
    ) -> NDArray[np.float32]:
        """How much each of r products has what a query negates, shape (r,); see `NegationReader`. Raises
        LexicalFailed."""
        return await self._run(lambda: self._negations.conflicts(phrases, rows, view))

    def scores(self, evidence: Evidence) -> NDArray[np.float32]:
        """The score, shape (r,), that `search` gives the products with this evidence."""
        return evidence.scores @ self._fields

    def close(self) -> None:
        """Ends the thread once what runs is done."""
        self._pool.shutdown(wait=False)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await on_thread(work, pool=self._pool)
        except DeadlineExceeded:  # the request's own
            raise
        except Exception as error:  # whatever it is, the dense source still answers
            raise LexicalFailed(f"{type(error).__name__}: {error}") from error


def apply_spellings(text: str, spellings: Mapping[str, str]) -> str:
    """The text with the likelier spelling, in lower case, of each word that has one."""
    if not spellings:
        return text
    return _WORD.sub(lambda word: spellings.get(word[0].casefold(), word[0]), text)
