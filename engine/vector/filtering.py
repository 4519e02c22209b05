"""How an index is searched among the products that pass a filter.

An exact index scores all that pass. An approximate one does so where few pass; else it is searched with a mask, and
wider, since the lists or links that it visits hold fewer products that pass. How much wider is measured at indexing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXACT_KIND = "exact_fp16"
"""The kind of index that scores every vector, as its report names it."""
FEW_ROWS = 2000
"""Up to so many passing products their vectors are looked up one by one."""
_UNMEASURED = ({"share": 0.1, "widening": 16.0},)


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """`exact`: every passing product is scored, by its row with `by_row`; else a search is `widening` times as wide as
    one without a filter."""

    exact: bool
    widening: float = 1.0
    by_row: bool = False

    @property
    def execution(self) -> str:
        """As `FilterReport` of the contract has it."""
        return "scan" if self.exact else "masked"


EXACT_PLAN = FilterPlan(exact=True)


def plan_filter(
    is_exact_kind: bool, count: int, passing: int, measured: Sequence[Mapping[str, Any]] | None = None
) -> FilterPlan:
    """The plan for a filter that `passing` of `count` products pass.

    `measured` has, by the share of products that passed a trial filter, the widening that reached the recall, None
    where scoring everything was faster: the plan is that of the largest share that is no larger than this one's.
    """
    if is_exact_kind:
        return EXACT_PLAN
    if passing <= FEW_ROWS:
        return FilterPlan(exact=True, by_row=True)
    share = passing / max(count, 1)
    known = [trial for trial in (_UNMEASURED if measured is None else measured) if trial["share"] <= share]
    trial = max(known, key=lambda trial: trial["share"], default=None)
    if trial is None or trial["widening"] is None:
        return EXACT_PLAN
    return FilterPlan(exact=False, widening=trial["widening"])
