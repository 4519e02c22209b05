"""The product types that a query is likely to mean, by those of the products that each source places first."""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from catalog.view import CatalogView
from retrieval.pipeline.candidates import CandidateSet
from retrieval.understanding.result import PredictedType, Understanding
from text.price_bounds import PriceBounds

NEIGHBOURS, _MOST = 12, 3
_LOW = 0.25
# By how many ranks a vote falls to a half. Measured: with it shares of votes are calibrated as they are.
_HALF = 2.0


def with_candidates(stated: Understanding, candidates: CandidateSet, view: CatalogView) -> Understanding:
    """What a query states with the types that its candidates show; where it asks for a low price, that is the lower
    quartile of the prices of the likeliest type's products among them."""
    types = predict_types(candidates, view)
    if not stated.low_price:
        return replace(stated, product_types=types)
    rows = candidates.rows
    if types:
        kinds = [view.row(row, ("product_type",))["product_type"] for row in rows.tolist()]
        rows = rows[[kind == types[0].product_type for kind in kinds]]
    prices = view.prices(rows)
    prices = prices[~np.isnan(prices)]
    most = round(float(np.quantile(prices, _LOW))) if len(prices) else None
    price = stated.price if most is None else PriceBounds(most=most)
    return replace(stated, product_types=types, price=price)


def predict_types(candidates: CandidateSet, view: CatalogView) -> tuple[PredictedType, ...]:
    """The three likeliest types, the likeliest first; none where products have no types."""
    best = sorted(type_shares(candidates, view).items(), key=lambda item: (-item[1], item[0]))[:_MOST]
    return tuple(PredictedType(name, round(share, 4)) for name, share in best)


def type_shares(candidates: CandidateSet, view: CatalogView) -> dict[str, float]:
    """The votes of each source's first products for their types, as shares of all votes."""
    votes: dict[str, float] = defaultdict(float)
    kinds: dict[int, str | None] = {}
    for source in candidates.sources.values():
        for rank, row in enumerate(candidates.rows[source.order()[:NEIGHBOURS]].tolist()):
            if row not in kinds:
                kinds[row] = view.row(row, ("product_type",))["product_type"]
            if kind := kinds[row]:
                votes[kind] += 2.0 ** (-rank / _HALF)
    total = sum(votes.values())
    return {name: vote / total for name, vote in votes.items()}
