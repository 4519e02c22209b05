"""Labels of made-up queries by an ensemble of voters: words, towers, and a cross-encoder where there is one.

As in GPL (Wang et al. 2022, arXiv 2112.07577) other models' scores are the labels. No voter is trusted beforehand: each
weighs by how well it ranks the products that queries of this very shop were made of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from core.fusion import RANK_CONSTANT
from lifecycle.adapt.queries import ShopQuery

WORDS, RANKER = "words", "cross-encoder"
# Places up to which voters agree, and products of a query without a product of its own that are good.
_FIRST, _GOOD = 10, 3
# Of the other products of a query's pool, these ranks hold its negatives.
_NEGATIVES = slice(10, 60)
_LEAST_AGREEMENT = 0.1
_ALSO_GOOD = 0.4  # neither a good product nor a negative: between `POOR` and `GOOD`

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pools:
    """Of q queries the products to label: `rows`, shape (q, p), -1 where there are no more, and each voter's scores.

    `favour` is what fusion adds for words that names cover, `whole` whether a product holds all of the query's words;
    both of shape (q, p).
    """

    rows: NDArray[np.int64]
    votes: Mapping[str, Scores]
    favour: Scores
    whole: NDArray[np.bool_]

    def take(self, places: slice | NDArray[np.int64]) -> "Pools":
        """Those of some of the queries."""
        votes = {name: scores[places] for name, scores in self.votes.items()}
        return Pools(self.rows[places], votes, self.favour[places], self.whole[places])

    def with_vote(self, name: str, scores: Scores) -> "Pools":
        """With one more voter, or another vote of it."""
        return replace(self, votes={**self.votes, name: scores})

    def without_vote(self, name: str) -> "Pools":
        """Without one of the voters."""
        return replace(self, votes={voter: scores for voter, scores in self.votes.items() if voter != name})


@dataclass(frozen=True, slots=True)
class Labels:
    """What the voters say of each query, by its place: the ensemble's scores of the pool, shape (q, p), and agreement.

    `agreement`, shape (q,), is the mean share of the first ten that two voters have in common. `weights` are the
    voters'; `quality` is what they come from, see `voter_quality`.
    """

    scores: Scores
    agreement: Scores
    weights: Mapping[str, float]
    quality: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LabelledQueries:
    """Relevance of products by query, and hard negatives by query, all by row."""

    relevance: dict[str, dict[int, float]] = field(default_factory=dict)
    negatives: dict[str, list[int]] = field(default_factory=dict)


def voter_quality(queries: Sequence[ShopQuery], pools: Pools) -> dict[str, float]:
    """Of each voter the mean reciprocal rank of the products that queries were made of; 0 where none was."""
    return {name: known_product_rank(queries, pools, votes) for name, votes in pools.votes.items()}


def gains_by_ranker(queries: Sequence[ShopQuery], pools: Pools, quality: Mapping[str, float]) -> bool:
    """Whether the voters rank known products better with the cross-encoder's vote than without, in the mean.

    It ranks few products, those which the others put first, so that its own rank alone would flatter it. `quality` is
    that of all.
    """
    others = {name: value for name, value in quality.items() if name != RANKER}
    alone, together = vote(pools.without_vote(RANKER), others), vote(pools, quality)
    before, after = (known_product_rank(queries, pools, labels.scores) for labels in (alone, together))
    return after > before


def known_product_rank(queries: Sequence[ShopQuery], pools: Pools, scores: Scores) -> float:
    """The mean reciprocal rank, by these scores, of the products that queries were made of; 0 where none was."""
    sources = np.array([-1 if query.row is None else query.row for query in queries], np.int64)
    places = np.flatnonzero(sources >= 0)
    if not len(places):
        return 0.0
    ranks = ranks_in_pools(scores[places], pools.rows[places])
    return float(((pools.rows[places] == sources[places, None]) / ranks).sum(1).mean())


def vote(pools: Pools, quality: Mapping[str, float]) -> Labels:
    """The ensemble's scores: the voters' reciprocal ranks, weighted by the square of their quality over the best's.

    The weights add up to 2, as those of words and towers do in fusion. Without any quality all weigh the same.
    """
    best = max(quality.values())
    powers = {name: (value / best) ** 2 if best else 1.0 for name, value in quality.items()}
    weights = {name: 2 * power / sum(powers.values()) for name, power in powers.items()}
    ranks = {name: ranks_in_pools(votes, pools.rows) for name, votes in pools.votes.items()}
    scores = sum((weights[name] / (RANK_CONSTANT + rank) for name, rank in ranks.items()), pools.favour)
    held = np.where(pools.rows >= 0, scores, -np.inf).astype(np.float32)
    return Labels(held, _agreement(list(ranks.values()), pools.rows), weights, dict(quality))


def ranks_in_pools(scores: Scores, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks from 1, shape (q, p), of each query's products by these scores; what is no product comes last."""
    order = np.argsort(np.where(rows >= 0, -scores, np.inf), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, rows.shape[1] + 1)[None].repeat(len(rows), 0), axis=1)
    return ranks


def label_queries(queries: Sequence[ShopQuery], pools: Pools, labels: Labels) -> LabelledQueries:
    """Good products and hard negatives of each query on which the voters agree a little.

    Good is the product that a query was made of; of queries without one, those of the ensemble's first three that most
    voters have among their first ten. Products that hold every word of the query are no negatives, good or not.
    """
    result = LabelledQueries()
    first = [ranks_in_pools(votes, pools.rows) <= _FIRST for votes in pools.votes.values()]
    agreed = (np.mean(first, axis=0) > 0.5) & (pools.rows >= 0)
    order = np.argsort(-labels.scores, axis=1, kind="stable")
    for place, query in enumerate(queries):
        ranked, rows = order[place], pools.rows[place]
        top = ranked[:_GOOD]
        good = rows[top[agreed[place][top]]].tolist() if query.row is None else [query.row]
        if not good or (query.row is None and labels.agreement[place] < _LEAST_AGREEMENT):
            continue
        held, whole = rows[ranked], pools.whole[place][ranked]
        other = (held >= 0) & ~np.isin(held, good)
        fits = held[: _NEGATIVES.stop][(other & whole)[: _NEGATIVES.stop]]
        result.relevance[query.text] = dict.fromkeys(fits.tolist(), _ALSO_GOOD) | dict.fromkeys(good, 1.0)
        result.negatives[query.text] = held[_NEGATIVES][(other & ~whole)[_NEGATIVES]].tolist()
    return result


def _agreement(ranks: Sequence[NDArray[np.int64]], rows: NDArray[np.int64]) -> Scores:
    first = [(rank <= _FIRST) & (rows >= 0) for rank in ranks]
    counts = np.maximum(np.minimum((rows >= 0).sum(1), _FIRST), 1)
    pairs = [(a & b).sum(1) / counts for place, a in enumerate(first) for b in first[:place]]
    return np.mean(pairs, axis=0).astype(np.float32) if pairs else np.ones(len(rows), np.float32)
