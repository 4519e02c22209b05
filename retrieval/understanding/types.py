"""The product types that a query is likely to mean, by those of the products that each source places first."""

from collections import defaultdict

from catalog.view import CatalogView
from retrieval.pipeline.candidates import CandidateSet
from retrieval.understanding.result import PredictedType

_NEIGHBOURS, _MOST = 12, 3
# How fast a neighbour's vote falls with its rank, and what is given to types that none of them has; fitted on held-out
# queries (`benchmarks/understanding.py`).
_HALF, _OTHERS, _POWER = 2.0, 0.1, 1.0


def predict_types(candidates: CandidateSet, view: CatalogView) -> tuple[PredictedType, ...]:
    """The three likeliest types, the likeliest first; none where products have no types."""
    shares = type_shares(candidates, view)
    powered = {name: share**_POWER for name, share in shares.items()}
    total = sum(powered.values()) * (1 + _OTHERS)
    best = sorted(powered.items(), key=lambda item: (-item[1], item[0]))[:_MOST]
    return tuple(PredictedType(name, round(value / total, 4)) for name, value in best)


def type_shares(candidates: CandidateSet, view: CatalogView) -> dict[str, float]:
    """The votes of each source's first products for their types, as shares of all votes."""
    votes: dict[str, float] = defaultdict(float)
    kinds: dict[int, str | None] = {}
    for source in candidates.sources.values():
        for rank, row in enumerate(candidates.rows[source.order()[:_NEIGHBOURS]].tolist()):
            if row not in kinds:
                kinds[row] = view.row(row, ("product_type",))["product_type"]
            if kind := kinds[row]:
                votes[kind] += 2.0 ** (-rank / _HALF)
    total = sum(votes.values())
    return {name: vote / total for name, vote in votes.items()}
