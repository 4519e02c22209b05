"""Whether adapted models may replace those that they started from, by held-out queries alone.

Towers may where the order served, words and towers fused, surely gains on products that held-out queries were made of,
surely loses on no way of asking, and the towers agree with the other voters as much as before. A cross-encoder may by
the same rule, over the order served without one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from evaluation.comparison import PairedComparison, paired
from evaluation.measures import CUTOFF, Grades, full_ranking_measures
from lifecycle.adapt.candidates import ReadQuery, ServedWords, Towers, fused_orders
from lifecycle.adapt.labels import Labels, Pools
from lifecycle.adapt.queries import LOG, ShopQuery
from lifecycle.examples.candidates import nearest

# Rows of each query, the best first; -1 where there are no more.
Orders = Sequence[NDArray[np.int64]]

_LEAST_QUERIES = 20
# Relevance of a product that holds every word of a query that was made of another.
_FITS = 0.5
ALL = "all"


class PairedGain(BaseModel):
    """A mean before and after over so many queries, and the difference with its 95% interval."""

    model_config = ConfigDict(frozen=True)

    queries: int
    before: float
    after: float
    gain: float
    low: float
    high: float

    @classmethod
    def from_paired(cls, compared: PairedComparison) -> "PairedGain":
        """Of a paired comparison."""
        gain = compared.difference
        return cls(
            queries=gain.queries, before=compared.a, after=compared.b, gain=gain.mean, low=gain.low, high=gain.high
        )

    @property
    def surely_gains(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    @property
    def surely_loses(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high < 0


class AdaptCheck(BaseModel):
    """nDCG@10 before and after: `known` of the order served, by way of asking and of `all`; `agreement` of the towers'
    own order with the voters, on queries of a log where there are enough. `reasons` are those to refuse, if any.
    """

    model_config = ConfigDict(frozen=True)

    known: dict[str, PairedGain]
    agreement: PairedGain | None
    reasons: list[str]

    @property
    def accepted(self) -> bool:
        """Whether the adapted towers may serve."""
        return not self.reasons


@dataclass(frozen=True)
class HeldOut:
    """Held-out queries as read, with the pools and labels of the voters before anything was adapted."""

    queries: Sequence[ShopQuery]
    read: Sequence[ReadQuery]
    words: ServedWords
    pools: Pools
    labels: Labels

    def take(self, places: NDArray[np.int64]) -> "HeldOut":
        """Some of the queries."""
        labels = replace(self.labels, scores=self.labels.scores[places], agreement=self.labels.agreement[places])
        queries, read = ([entries[place] for place in places] for entries in (self.queries, self.read))
        return HeldOut(queries, read, self.words, self.pools.take(places), labels)

    def served(self, towers: Towers) -> list[NDArray[np.int64]]:
        """The order of each query with these towers, the best row first."""
        vectors = towers.queries([query.text for query in self.read])
        return [candidates.rows for candidates in fused_orders(self.words, self.read, vectors, towers.items)]

    def nearest(self, towers: Towers) -> list[NDArray[np.int64]]:
        """The towers' own order."""
        return list(nearest(towers.queries([query.text for query in self.read]), towers.items, CUTOFF).rows)


def check_adapted(held_out: HeldOut, before: Towers, after: Towers) -> AdaptCheck:
    """Compares both towers on the same queries."""
    served, alone = ([side(towers) for towers in (before, after)] for side in (held_out.served, held_out.nearest))
    known, agreement = known_gains(held_out, *served), agreement_gain(held_out, *alone)
    return AdaptCheck(known=known, agreement=agreement, reasons=reasons_to_refuse(known, agreement))


def known_gains(held_out: HeldOut, before: Orders, after: Orders) -> dict[str, PairedGain]:
    """nDCG@10 of two orders of each query by the products that queries were made of: of all, and by way of asking."""
    grades = known_grades(held_out)
    values = [_ndcg(grades, held_out.queries, orders) for orders in (before, after)]
    ways = {query.text: query.way for query in held_out.queries}
    known = {}
    for way in [ALL, *sorted({ways[text] for text in values[0]})]:
        one, other = ({q: v for q, v in side.items() if way in (ALL, ways[q])} for side in values)
        if one:
            known[way] = PairedGain.from_paired(paired(one, other))
    return known


def agreement_gain(held_out: HeldOut, before: Orders, after: Orders) -> PairedGain | None:
    """How much more the other orders agree with the voters; None without queries."""
    agreed = agreed_grades(held_out)
    one, other = (_ndcg(agreed, held_out.queries, orders) for orders in (before, after))
    return PairedGain.from_paired(paired(one, other)) if one else None


def reasons_to_refuse(
    known: Mapping[str, PairedGain], agreement: PairedGain | None, agreeing: str = "the towers agree"
) -> list[str]:
    """In words, with the numbers; none where the adapted model may serve. `agreeing` is what `agreement` measures."""
    total = known.get(ALL)
    if total is None or total.queries < _LEAST_QUERIES:
        return [f"{total.queries if total else 0} held-out queries have a known product, of {_LEAST_QUERIES} needed"]
    reasons = []
    if not total.surely_gains:
        reasons.append(f"what is served does not surely gain on held-out queries ({in_numbers(total)})")
    for way, gain in known.items():
        if way != ALL and gain.queries >= _LEAST_QUERIES and gain.surely_loses:
            reasons.append(f"what is served loses on queries of the way {way!r} ({in_numbers(gain)})")
    if agreement is not None and agreement.queries >= _LEAST_QUERIES and agreement.surely_loses:
        reasons.append(f"{agreeing} less with the other voters ({in_numbers(agreement)})")
    return reasons


def known_grades(held_out: HeldOut) -> dict[str, dict[str, float]]:
    """Of queries that were made of one product: that one, and with half of its grade those that hold all words."""
    grades = {}
    for query, read in zip(held_out.queries, held_out.read, strict=True):
        if query.row is not None:
            fits = dict.fromkeys(map(str, held_out.words.holders(read)), _FITS)
            grades[query.text] = fits | {str(query.row): 1.0}
    return grades


def agreed_grades(held_out: HeldOut) -> dict[str, dict[str, float]]:
    """The ensemble's first ten, falling from 1; of queries of a log where there are enough, else of all."""
    logged = sum(query.way == LOG for query in held_out.queries) >= _LEAST_QUERIES
    order = np.argsort(-held_out.labels.scores, axis=1, kind="stable")[:, :CUTOFF]
    grades: dict[str, dict[str, float]] = {}
    for place, query in enumerate(held_out.queries):
        if not logged or query.way == LOG:
            rows = [row for row in held_out.pools.rows[place][order[place]] if row >= 0]
            grades[query.text] = {str(row): 1 - rank / CUTOFF for rank, row in enumerate(rows)}
    return {text: graded for text, graded in grades.items() if graded}


def _ndcg(grades: Grades, queries: Sequence[ShopQuery], orders: Orders) -> dict[str, float]:
    if not grades:
        return {}
    rankings = {query.text: [str(row) for row in rows if row >= 0] for query, rows in zip(queries, orders, strict=True)}
    values: dict[str, float] = full_ranking_measures(grades, rankings, 0.0, 1.0)["nDCG@10"]
    return values


def in_numbers(gain: PairedGain) -> str:
    """A gain for people."""
    return (
        f"nDCG@10 {gain.before:.3f} to {gain.after:.3f}, {gain.gain:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], "
        f"{gain.queries} queries"
    )
