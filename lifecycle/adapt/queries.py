"""Makes queries of a shop's own products, in several ways of asking, and holds some of them out.

A held-out query shares its words with none that is trained on, and the product that it was made of makes none of those.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from core.strings import fold_text, query_key
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.examples.augment import Augmentation, augment
from lifecycle.examples.pseudo import (
    PseudoQuerySettings,
    WordCounts,
    is_stop_word,
    last_level,
    model_numbers,
    phrase_queries,
    words_of,
)
from text.scripts import runs, segment

LOG = "log"
"""The way of asking of queries from the shop's log."""

# Phrases and values that so many products share are a way of asking; what more than a share of them have says nothing.
_SHARED, _COMMON, _FEW = 2, 0.1, 20
_RARE = 0.05  # of the products may hold the rarest word of a title's part
_LONGEST = 60  # characters of an attribute's value in a query
_PHRASE = 3
_ATTRIBUTES = ("brand", "color", "size", "material")
_TYPING = Augmentation(typing=1.0, dropped=0.0, reordered=0.0)
_ORDER = Augmentation(typing=0.0, dropped=0.5, reordered=1.0)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ShopQuery:
    """A query, the way in which it was made, and the row of the product that it was made of; None where of many."""

    text: str
    way: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class QuerySplit:
    """Queries to learn from, and those that are held out."""

    train: tuple[ShopQuery, ...]
    held_out: tuple[ShopQuery, ...]


@dataclass(frozen=True)
class _Shop:
    """Products by row, their titles as words, and how many titles hold each word."""

    rows: Sequence[Row]
    titles: Sequence[list[str]]
    counts: WordCounts

    @classmethod
    def read(cls, rows: Sequence[Row], language: str) -> "_Shop":
        titles = [title_words(row["title"], language) for row in rows]
        holders = Counter(word for title in titles for word in set(title))
        return cls(rows, titles, WordCounts(holders, len(rows)))


_Way = Callable[[_Shop, np.random.Generator], Iterator[ShopQuery]]


def make_queries(
    rows: Sequence[Row], language: str, log: Mapping[str, int], settings: AdaptSettings
) -> list[ShopQuery]:
    """Queries of the products, as many of each way as there are to share them out; each query once, by its key.

    `rows` have the columns of `CATALOG_SCHEMA`, `language` is theirs (BCP 47), `log` has how often each query
    was sent: the most frequent ones come first, and take half of the room at most where there are others.
    """
    shop = _Shop.read(rows, language)
    random = np.random.default_rng(settings.seed)
    logged = sorted(log.items(), key=lambda entry: (-entry[1], entry[0]))
    made: dict[str, ShopQuery] = {}
    for query, _ in logged[: max(1, settings.queries // 2)]:
        if key := query_key(query):
            made.setdefault(key, ShopQuery(fold_text(query), LOG))
    streams = [way(shop, random) for way in WAYS.values()]
    while streams and len(made) < settings.queries:
        streams = [stream for stream in streams if _take_one(stream, made)]
    return list(made.values())[: settings.queries]


def split_queries(queries: Sequence[ShopQuery], settings: AdaptSettings) -> QuerySplit:
    """Holds out a share of the products with all that is made of them, and of the queries that are made of none.

    What has the words of a held-out query, in whatever order, is not learned from.
    """
    held_out = [query for query in queries if _is_held_out(query, settings.held_out)]
    phrasings = set(map(_phrasing, held_out))
    others = [query for query in queries if not _is_held_out(query, settings.held_out)]
    train = [query for query in others if _phrasing(query) not in phrasings]
    return QuerySplit(tuple(train), tuple(held_out))


def title_words(title: str, language: str) -> list[str]:
    """The title's words in lower case; those of scripts without spaces as they are segmented."""
    japanese = language.split("-")[0].lower() == "ja"
    result: list[str] = []
    for word in words_of(title):
        for run, unspaced in runs(word):
            result += [piece for piece, _, _ in segment(run, japanese)] if unspaced else [run]
    return result


def _take_one(stream: Iterator[ShopQuery], made: dict[str, ShopQuery]) -> bool:
    """Adds the stream's next new query; whether it had one."""
    for query in stream:
        key = query_key(query.text)
        if key and key not in made:
            made[key] = query
            return True
    return False


def _phrasing(query: ShopQuery) -> str:
    """The words of a query, in whatever order."""
    return " ".join(sorted(query_key(query.text).split()))


def _is_held_out(query: ShopQuery, share: float) -> bool:
    text = _phrasing(query) if query.row is None else f"product {query.row}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def _fragments(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """Words that stand together in a title."""
    settings = PseudoQuerySettings(shortest=1, common=min(1.0, max(_RARE, _FEW / max(1, len(shop.rows)))))
    for row in _at_random(shop, random):
        queries = phrase_queries(shop.titles[row], shop.counts, settings)
        if queries:
            yield ShopQuery(_drawn(queries, random), "fragment", row)


def _words(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """A few words of a title, in its order but not together: the commoner ones sooner, as they say what it is."""
    for row in _at_random(shop, random):
        words = [word for word in dict.fromkeys(shop.titles[row]) if len(word) > 1 and not is_stop_word(word)]
        if len(words) < 2:
            continue
        weights = np.log1p([shop.counts.holders[word] for word in words])
        chosen = random.choice(
            len(words), int(random.integers(2, min(4, len(words)) + 1)), False, weights / weights.sum()
        )
        yield ShopQuery(" ".join(words[place] for place in sorted(chosen)), "words", row)


def _heads(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """Short phrases that several titles share; often, those that many do."""
    held: Counter[str] = Counter()
    for title in shop.titles:
        held.update({" ".join(part) for part in _phrases(title)})
    most = max(_FEW, _COMMON * len(shop.rows))
    phrases = [phrase for phrase, count in held.items() if _SHARED <= count <= most]
    weights = np.sqrt([held[phrase] for phrase in phrases]) if phrases else np.ones(0)
    # Gumbel's trick: an order drawn without replacement, by weight.
    keys = np.log(weights) + random.gumbel(size=len(phrases)) if phrases else weights
    yield from (ShopQuery(phrases[place], "head") for place in np.argsort(-keys, kind="stable"))


def _attributes(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """Values of attributes that several products share, with the product type, or the title's last word without one."""
    values = [_values(row) for row in shop.rows]
    held = Counter(value for row in values for value in row)
    most = max(_FEW, _COMMON * len(shop.rows))
    for row in _at_random(shop, random):
        known = [value for value in values[row] if _SHARED <= held[value] <= most]
        kind = query_key(last_level(shop.rows[row]["product_type"])) or " ".join(shop.titles[row][-1:])
        fewest = 0 if shop.rows[row]["product_type"] else 1
        if kind and len(known) >= fewest:
            chosen = random.permutation(len(known))[: int(random.integers(fewest, 3))]
            parts = [value for value in (known[place] for place in sorted(chosen)) if value not in kind]
            yield ShopQuery(" ".join([*parts, kind]), "attributes")


def _models(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """Model numbers, alone or behind the brand."""
    for row in _at_random(shop, random):
        brand = query_key(shop.rows[row]["brand"] or "")
        for number in model_numbers(shop.titles[row], shop.counts):
            yield ShopQuery(f"{brand} {number}" if brand and random.random() < 0.5 else number, "model", row)


def _typos(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """Parts of titles with a typing error."""
    yield from _varied(_fragments(shop, random), _TYPING, "typo", random)


def _reordered(shop: _Shop, random: np.random.Generator) -> Iterator[ShopQuery]:
    """Parts of titles with words in another order, or without one of them."""
    yield from _varied(_words(shop, random), _ORDER, "reordered", random)


WAYS: dict[str, _Way] = {
    "fragment": _fragments,
    "words": _words,
    "head": _heads,
    "attributes": _attributes,
    "model": _models,
    "typo": _typos,
    "reordered": _reordered,
}
"""The ways of asking, by name."""


def _varied(
    queries: Iterator[ShopQuery], changes: Augmentation, way: str, random: np.random.Generator
) -> Iterator[ShopQuery]:
    """Those of the queries that the changes change."""
    while some := list(islice(queries, 256)):
        settings = changes.model_copy(update={"seed": int(random.integers(2**31))})
        for query, text in zip(some, augment([query.text for query in some], settings), strict=True):
            if text != query.text:
                yield ShopQuery(text, way, query.row)


def _at_random(shop: _Shop, random: np.random.Generator) -> Iterator[int]:
    """Every row once, product types in turn."""
    types: Counter[str | None] = Counter()
    turns = []
    for place in random.permutation(len(shop.rows)):
        kind = shop.rows[place]["product_type"]
        turns.append((types[kind], int(place)))
        types[kind] += 1
    return iter([place for _, place in sorted(turns, key=lambda turn: turn[0])])


def _drawn(queries: Mapping[str, float], random: np.random.Generator) -> str:
    weights = np.array(list(queries.values()))
    return list(queries)[random.choice(len(queries), p=weights / weights.sum())]


def _phrases(title: list[str]) -> Iterator[list[str]]:
    for length in range(1, _PHRASE + 1):
        for start in range(len(title) - length + 1):
            part = title[start : start + length]
            edges = {part[0], part[-1]}
            if not any(map(is_stop_word, edges)) and len(part[-1]) > 1 and not part[-1].isdigit():
                yield part


def _values(row: Row) -> list[str]:
    """The product's brand, colour, size and material, and its further attributes; those that a shopper could type."""
    texts = [row[name] for name in _ATTRIBUTES] + [value for _, value in row["attributes"] or ()]
    keys = [query_key(text) for text in texts if text]
    return list(dict.fromkeys(key for key in keys if 1 < len(key) <= _LONGEST))
