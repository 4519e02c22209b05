"""Terms that a base vocabulary lacks: those of products that came while it is served."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from threading import Lock

from rapidfuzz import process
from rapidfuzz.distance import OSA

from engine.lexical.dictionary import MOST_NEIGHBOURS, SimilarTerm, Terms, bare, may_be_misspelt


class FreshTerms:
    """Terms numbered on from those of a base vocabulary. Nothing is ever taken away, so that numbers stay good.

    For any number of threads: readers take no lock.
    """

    def __init__(self, first: int) -> None:
        """`first` is the number of the first term that is added: how many the base vocabulary has."""
        self.first = first
        self.parts: dict[int, list[int]] = {}
        """The terms of the words within each of these terms that is a compound."""
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._words: list[tuple[str, int]] = []
        self._orders: tuple[list[tuple[str, int]], list[tuple[str, int]]] = ([], [])  # forwards and backwards
        self._spellings: dict[int, set[str]] = defaultdict(set)
        # By the number of their letters: the letters of each spelling, and its term. Lists grow at their ends alone.
        self._letters: dict[int, list[str]] = defaultdict(list)
        self._forms: dict[int, list[tuple[int, str]]] = defaultdict(list)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> str:
        return self._names[number - self.first]

    def find(self, term: str) -> int | None:
        """The term's number, or None."""
        return self._numbers.get(term)

    def add(self, term: str, spelling: str = "") -> int:
        """The number of a term, which is added where it is new; `spelling` is how a text writes it."""
        number = self._numbers.get(term)
        if number is not None and (not spelling or spelling in self._spellings[number]):
            return number
        with self._lock:
            number = self._numbers.get(term)
            if number is None:
                number = self.first + len(self._names)
                self._names.append(term)
                self._numbers[term] = number
                if may_be_misspelt(term):
                    self._words.append((term, number))
            written = spelling or term
            if written not in self._spellings[number]:
                self._spellings[number].add(written)
                if may_be_misspelt(term):
                    letters = bare(written)
                    self._forms[len(letters)].append((number, written))
                    self._letters[len(letters)].append(letters)
        return number

    def all(self) -> list[str]:
        """All terms, in the order of their numbers."""
        return self._names[:]

    def words(self) -> list[tuple[str, int]]:
        """Terms of letters with their numbers: what is no code, of which every product brings one."""
        return self._words[:]

    def beginning(self, start: str) -> Iterator[int]:
        """The numbers of terms of letters that begin so."""
        return _starting(self._sorted()[0], start)

    def ending(self, end: str) -> Iterator[int]:
        """The numbers of terms of letters that end so."""
        return _starting(self._sorted()[1], end[::-1])

    def _sorted(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Terms of letters by how they begin, and by how they end, made anew where there are further ones."""
        orders, words = self._orders, self.words()
        if len(orders[0]) != len(words):
            orders = self._orders = sorted(words), sorted((term[::-1], number) for term, number in words)
        return orders

    def similar(self, word: str, edits: int) -> Iterator[SimilarTerm]:
        """Terms that texts write within so many typing errors of a plain word; see `Terms.similar`."""
        for length in range(len(word) - edits, len(word) + edits + 1):
            if letters := self._letters.get(length):
                near = process.extract(word, letters[:], scorer=OSA.distance, score_cutoff=edits, limit=None)
                for _, errors, place in near:
                    if errors:
                        yield SimilarTerm(*self._forms[length][place], int(errors))


def _starting(ordered: Sequence[tuple[str, int]], start: str) -> Iterator[int]:
    for place in range(bisect_left(ordered, (start,)), len(ordered)):
        if not ordered[place][0].startswith(start):
            return
        yield ordered[place][1]


class ViewTerms(Terms):
    """The vocabulary of a catalog view: that of the base, and of the fresh terms those that some product holds."""

    def __init__(self, base: Terms, fresh: FreshTerms, is_held: Callable[[int], bool]) -> None:
        """`is_held` returns whether a product of the view holds a fresh term, by its number."""
        self._base = base
        self._fresh = fresh
        self._is_held = is_held
        self.consulted = False
        """Whether what was asked for is, or may be, another one in another view."""

    def __len__(self) -> int:
        return len(self._base) + len(self._fresh)

    def __getitem__(self, number: int) -> str:
        return self._base[number] if number < len(self._base) else self._fresh[number]

    def find(self, term: str) -> int | None:
        """See `Terms.find`."""
        number = self._base.find(term)
        if number is None and (number := self._fresh.find(term)) is not None:
            return number if self._held(number) else None
        return number

    def beginning(self, start: str) -> Iterator[str]:
        """See `Terms.beginning`."""
        yield from self._base.beginning(start)
        yield from self._those(self._fresh.beginning(start))

    def between(self, first: str, last: str) -> str | None:
        """See `Terms.between`."""
        own = self._base.between(first, last)
        numbers = (number for term, number in self._fresh.words() if first <= term[:1] <= last)
        return own or next(self._those(numbers), None)

    def ending(self, end: str) -> Iterator[str]:
        """See `Terms.ending`."""
        yield from self._base.ending(end)
        yield from self._those(self._fresh.ending(end))

    def similar(self, word: str, edits: int) -> list[SimilarTerm]:
        """See `Terms.similar`."""
        best: dict[int, SimilarTerm] = {}
        for one in self._fresh.similar(word, edits):
            if self._held(one.number) and (one.number not in best or one.errors < best[one.number].errors):
                best[one.number] = one
        own = self._base.similar(word, edits)
        return sorted([*own, *best.values()], key=lambda one: (one.errors, one.number)) if best else own

    def _those(self, numbers: Iterator[int]) -> Iterator[str]:
        """The first few of fresh terms that a product holds."""
        return (self._fresh[number] for number in islice(filter(self._held, numbers), MOST_NEIGHBOURS))

    def _held(self, number: int) -> bool:
        self.consulted = True
        return self._is_held(number)
