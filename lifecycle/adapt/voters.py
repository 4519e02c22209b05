"""Asks the voters: what words and towers say of the products that retrieval finds for each query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.progress import Steps
from lifecycle.adapt.candidates import ReadQuery, ServedWords, Towers, fused_orders
from lifecycle.adapt.labels import WORDS, Pools
from lifecycle.adapt.queries import ShopQuery

# Products of a query that are labelled, at most.
POOL = 100


@dataclass(frozen=True)
class Ballot:
    """Queries as words read them, and what the voters say of their pools."""

    queries: Sequence[ShopQuery]
    read: Sequence[ReadQuery]
    pools: Pools


def read_queries(words: ServedWords, queries: Sequence[ShopQuery], count: int, steps: Steps) -> list[ReadQuery]:
    """Each query with the `count` products that words retrieve."""
    with steps.step("find words in common") as report:
        result = []
        for query in queries:
            result.append(words.read(query.text, count))
            report(len(result), len(queries))
    return result


def ask_voters(
    words: ServedWords, towers: Mapping[str, Towers], queries: Sequence[ShopQuery], read: Sequence[ReadQuery]
) -> Ballot:
    """The pool of a query is what words and the first towers retrieve, the first as served; there are towers."""
    vectors = {name: entry.queries([query.text for query in read]) for name, entry in towers.items()}
    start = next(iter(towers))
    rows = np.full((len(queries), POOL), -1, np.int64)
    favour, whole = np.zeros(rows.shape, np.float32), np.zeros(rows.shape, bool)
    votes = {name: np.full(rows.shape, -np.inf, np.float32) for name in (WORDS, *towers)}
    for place, candidates in enumerate(fused_orders(words, read, vectors[start], towers[start].items)):
        pool = candidates.rows[:POOL]
        by_words, held = words.judge(read[place], pool), slice(0, len(pool))
        rows[place, held], favour[place, held], whole[place, held] = pool, by_words.favour, by_words.whole
        votes[WORDS][place, held] = by_words.scores
        for name, entry in towers.items():
            votes[name][place, held] = entry.items[pool] @ vectors[name][place]
    return Ballot(queries, read, Pools(rows, votes, favour, whole))
