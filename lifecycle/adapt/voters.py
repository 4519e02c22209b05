"""Asks the voters: what words, towers and the cross-encoder say of the products that retrieval finds for each query."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.progress import Steps
from lifecycle.adapt.candidates import ReadQuery, ServedWords, Towers, fused_orders
from lifecycle.adapt.labels import RANKER, WORDS, Pools, gains_by_ranker, known_product_rank
from lifecycle.adapt.queries import ShopQuery
from lifecycle.training.scoring import Teacher

# Products of a query that are labelled, at most, and of these the first, which the cross-encoder scores.
POOL, SCORED = 100, 12
TOWERS = "towers"
"""The voter of the towers to start from."""

_AT_ONCE = 32  # queries between two looks at the clock


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


@dataclass(frozen=True)
class RankerVote:
    """Ballots with the cross-encoder's vote where it `counts`, else as they were.

    `quality` is its mean reciprocal rank of known products, by the first `queries` to learn from; `pace` is in pairs
    per second.
    """

    train: Ballot
    held_out: Ballot
    quality: float
    counts: bool
    queries: int
    pace: float


def ask_ranker(
    train: Ballot,
    held_out: Ballot,
    quality: Mapping[str, float],
    ranker: Teacher,
    texts: Sequence[str],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> RankerVote:
    """Asks the cross-encoder for the first few products of as many queries as there are `seconds` for.

    Half of them go to queries to learn from. Where the voters rank the known products of these no better with its vote
    (`gains_by_ranker`), it is scored no further and does not count. Of a query that it was not scored for, its order is
    the one served. `quality` is that of the other voters.
    """
    began = clock()
    votes, scored = _ranker_votes(train, ranker, texts, seconds / 2, clock)
    pace = max(1, int(np.isfinite(votes).sum())) / max(clock() - began, 1e-6)
    voted = train.pools.with_vote(RANKER, votes)
    some, queries = voted.take(slice(scored)), train.queries[:scored]
    own = known_product_rank(queries, some, some.votes[RANKER])
    if not gains_by_ranker(queries, some, {**quality, RANKER: own}):
        return RankerVote(train, held_out, own, False, scored, pace)
    held_votes, _ = _ranker_votes(held_out, ranker, texts, began + seconds - clock(), clock)
    held_pools = held_out.pools.with_vote(RANKER, held_votes)
    return RankerVote(replace(train, pools=voted), replace(held_out, pools=held_pools), own, True, scored, pace)


def _ranker_votes(
    ballot: Ballot, ranker: Teacher, texts: Sequence[str], seconds: float, clock: Callable[[], float]
) -> tuple[np.ndarray, int]:
    """Its scores, -inf where it was not scored, and for how many queries it was: of some, however short the time."""
    pools, until = ballot.pools, clock() + seconds
    votes = np.full(pools.rows.shape, -np.inf, np.float32)
    done = 0
    while done < len(ballot.read) and (done == 0 or clock() < until):
        some = slice(done, done + _AT_ONCE)
        places, columns = np.nonzero(pools.rows[some, :SCORED] >= 0)
        rows = pools.rows[some][places, columns]
        scored = [ballot.read[done + int(place)].text for place in places]
        logits = ranker.logits(scored, [texts[row] for row in rows])
        similarity = pools.votes[TOWERS][some][places, columns]
        votes[done + places, columns] = ranker.ranker.spec.calibration.evidence(logits, similarity)
        done += _AT_ONCE
    return votes, min(done, len(ballot.read))
