"""How much the ranks of each source count where no learned order ranks, by what a list is for."""

from collections.abc import Mapping
from enum import StrEnum

from retrieval.recommend.user import Relation, Subject


class SourceName(StrEnum):
    """Sources as their stages and scores are called in answers."""

    user_tower = "user_tower"
    bought_together = "bought_together"
    repurchase = "repurchase"
    same_group = "same_group"
    similar = "similar"
    popular = "popular"
    new = "new"


SOURCE_LABELS = {
    SourceName.user_tower: "fits the shopper",
    SourceName.bought_together: "bought together",
    SourceName.repurchase: "bought again",
    SourceName.same_group: "same group",
    SourceName.similar: "similar",
    SourceName.popular: "popular",
    SourceName.new: "new",
}

_FOR_USERS = {
    SourceName.user_tower: 1.0,
    SourceName.bought_together: 1.0,
    SourceName.repurchase: 1.5,
    SourceName.same_group: 0.7,
    SourceName.similar: 0.4,
    SourceName.popular: 0.2,
    SourceName.new: 0.0,
}
# What is asked for orders alone: the others fill the list where it returns too little.
_SIMILAR = {SourceName.similar: 1000.0, SourceName.popular: 1.0, SourceName.new: 0.0}
_TOGETHER = {
    SourceName.bought_together: 1e6,
    SourceName.similar: 1000.0,
    SourceName.popular: 1.0,
    SourceName.new: 0.0,
}
_POPULAR = {SourceName.popular: 1.0, SourceName.new: 0.0}


def source_weights(subject: Subject) -> Mapping[SourceName, float]:
    """The sources of a list and their weights, in the order of precedence. New products add nothing: they are there to
    be drawn for places of their own."""
    if subject.product_id:
        return _TOGETHER if subject.relation is Relation.bought_together else _SIMILAR
    return _POPULAR if subject.user is None else _FOR_USERS
