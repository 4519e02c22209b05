"""How an index is searched among the products that pass a filter.

An exact index, and any index of which few products pass, scores all that pass. Else an approximate index is searched
with a mask, and wider by as much as products are left out: the lists or links that it visits hold fewer that pass.
"""

from dataclasses import dataclass

EXACT_SHARE = 0.02
"""Up to this share of passing products an approximate index scores all of them, where no release measured it."""
_WIDEST = 16


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """`exact`: every passing product is scored; else a search is `widening` times as wide as one without a filter."""

    exact: bool
    widening: float = 1.0

    @property
    def execution(self) -> str:
        """As `FilterReport` of the contract has it."""
        return "scan" if self.exact else "masked"


def plan_filter(is_exact_kind: bool, share: float, exact_share: float = EXACT_SHARE) -> FilterPlan:
    """The plan for a filter that the share `share` of the products passes, 0 to 1."""
    if is_exact_kind or share <= exact_share:
        return FilterPlan(exact=True)
    return FilterPlan(exact=False, widening=min(_WIDEST, 1 / share))
