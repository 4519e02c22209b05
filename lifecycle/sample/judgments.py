"""The intent of a query, and the grade of each product by its facts. Text plays no part in a grade."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from lifecycle.sample.products import SampleProduct
from lifecycle.sample.vocabulary import Vocabulary

_FAR_OVER = 1.5  # a price this many times over the bound misses twice


@dataclass(frozen=True, slots=True)
class Requirement:
    """Tags of which a product must have one. Missing a hard requirement counts twice: shoes of the wrong size."""

    accept: frozenset[str]
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """The types that answer a query, siblings that come close, related types; requirements, and prices in cents."""

    types: frozenset[str]
    siblings: frozenset[str] = frozenset()
    related: frozenset[str] = frozenset()
    requirements: tuple[Requirement, ...] = ()
    excluded: frozenset[str] = frozenset()
    max_price: int | None = None
    min_price: int | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """How many products of each grade are judged for a query, and how many zeros: similar and random ones."""

    threes: int
    twos: int
    ones: int
    near_zeros: int
    random_zeros: int


class SampleCatalog:
    """The products of one shop, one at least, in memory, with their tags and indexes of them."""

    def __init__(self, products: Iterable[SampleProduct]) -> None:
        self.products = list(products)
        self.vocabulary = self.products[0].line.vocabulary
        self.tags = [product.tags() for product in self.products]
        self.by_type: defaultdict[str, list[int]] = defaultdict(list)
        self.by_tag: defaultdict[str, list[int]] = defaultdict(list)
        self.by_word: defaultdict[str, list[int]] = defaultdict(list)
        for row, product in enumerate(self.products):
            self.by_type[product.line.kind.key].append(row)
            for tag in self.tags[row]:
                self.by_tag[tag].append(row)
            for word in set(product.title.lower().replace(",", " ").split()):
                self.by_word[word].append(row)

    def grade(self, intent: Intent, row: int) -> int:
        """3 for the right type with every requirement, down to 0 for the wrong product.

        The right type loses a grade for a miss and two for more. A sibling starts at 2, a related type at 1 and
        bears one miss. A product with an excluded tag gets 1 at most, and only if nothing else is missing.
        """
        product, tags = self.products[row], self.tags[row]
        key, missed = product.line.kind.key, count_misses(intent, product.price, tags)
        refused = not intent.excluded.isdisjoint(tags)
        if key in intent.types:
            return (1 if missed == 0 else 0) if refused else max(3 - missed, 1)
        if key in intent.siblings:
            return 0 if refused else max(2 - missed, 0)
        return int(key in intent.related and missed <= 1 and not refused)

    def rows_by_grade(self, intent: Intent) -> dict[int, list[int]]:
        """Rows by grade, for grades 1 to 3; every other row has grade 0."""
        rows: dict[int, list[int]] = {1: [], 2: [], 3: []}
        for key in sorted(intent.types | intent.siblings | intent.related):
            for row in self.by_type.get(key, ()):
                grade = self.grade(intent, row)
                if grade:
                    rows[grade].append(row)
        return rows


def count_misses(intent: Intent, price: int, tags: frozenset[str]) -> int:
    """How many requirements a product misses; hard ones and prices far beyond the bound count twice."""
    missed = sum(1 + requirement.hard for requirement in intent.requirements if requirement.accept.isdisjoint(tags))
    if intent.max_price is not None and price > intent.max_price:
        missed += 1 + (price > _FAR_OVER * intent.max_price)
    return missed + (intent.min_price is not None and price < intent.min_price)


def neighbour_types(voc: Vocabulary, key: str) -> tuple[frozenset[str], frozenset[str]]:
    """The siblings and the related types of a type, whichever of the two names the other."""
    kind = voc.types[key]
    siblings = set(kind.siblings) | {other.key for other in voc.types.values() if key in other.siblings}
    related = set(kind.related) | {other.key for other in voc.types.values() if key in other.related}
    return frozenset(siblings), frozenset(related - siblings)


def judge_query(catalog: SampleCatalog, intent: Intent, query: str, pool: Pool, rng: Random) -> list[tuple[int, int]]:
    """(row, grade) pairs for one query: the relevant up to the pool's caps, then zeros that look alike, then others."""
    rows_by_grade = catalog.rows_by_grade(intent)
    judged = [
        (row, grade)
        for grade, cap in ((3, pool.threes), (2, pool.twos), (1, pool.ones))
        for row in _sample(rng, rows_by_grade[grade], cap)
    ]
    relevant = {row for rows in rows_by_grade.values() for row in rows}
    near = _sample(rng, sorted(_similar_products(catalog, intent, query) - relevant), pool.near_zeros)
    chosen = relevant.union(near)
    rest = rng.sample(range(len(catalog.products)), min(len(catalog.products), 8 * pool.random_zeros))
    others = [row for row in rest if row not in chosen][: pool.random_zeros]
    return judged + [(row, 0) for row in [*near, *others]]


def _similar_products(catalog: SampleCatalog, intent: Intent, query: str) -> set[int]:
    """Products of any type that share a word of the query or a required tag."""
    words = [word for word in query.lower().replace(",", " ").split() if len(word) > 3]
    rows = {row for word in words for row in catalog.by_word.get(word, ())[:60]}
    required = sorted(tag for requirement in intent.requirements for tag in requirement.accept)
    return rows.union(*(catalog.by_tag[tag][:40] for tag in required))


def _sample(rng: Random, rows: Sequence[int], count: int) -> list[int]:
    return sorted(rng.sample(rows, count)) if len(rows) > count else list(rows)
