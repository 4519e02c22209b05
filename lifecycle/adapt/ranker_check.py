"""Which cross-encoder serves beside the towers that were kept: the adapted one, that of the start, or none.

Each is measured in the whole order served, over the order served without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lifecycle.adapt.check import (
    ALL,
    HeldOut,
    Orders,
    PairedGain,
    agreement_gain,
    in_numbers,
    known_gains,
    reasons_to_refuse,
)

Choice = Literal["adapted", "original", "none"]
_AGREEING = "what is served agrees"


class RankerReport(BaseModel):
    """Which cross-encoder was chosen, and why. `known` and `agreement` are those of the adapted one over none, see
    `AdaptCheck`; `original` is what that of the start gains over none, `over_original` the adapted one over it.
    `queries` and `pace` are those of its vote (`RankerVote`), `training` is the training's report.
    """

    model_config = ConfigDict(frozen=True)

    choice: Choice
    reason: str
    known: dict[str, PairedGain] = {}
    agreement: PairedGain | None = None
    original: PairedGain | None = None
    over_original: PairedGain | None = None
    queries: int = 0
    pace: float = 0.0
    training: dict[str, Any] | None = None


@dataclass(frozen=True)
class RankerComparison:
    """What a cross-encoder gains over the order served without one."""

    known: Mapping[str, PairedGain]
    agreement: PairedGain | None

    @classmethod
    def measure(cls, held_out: HeldOut, without: Orders, served: Orders) -> "RankerComparison":
        """On the same queries."""
        return cls(known_gains(held_out, without, served), agreement_gain(held_out, without, served))

    @property
    def reasons(self) -> list[str]:
        """Why it may not serve, none where it may."""
        return reasons_to_refuse(self.known, self.agreement, _AGREEING)

    @property
    def surely_loses(self) -> bool:
        """Whether what is served loses by it."""
        total = self.known.get(ALL)
        return total is not None and total.surely_loses


def choose_ranker(
    adapted: RankerComparison | str,
    original: RankerComparison,
    over_original: PairedGain | None,
    towers_changed: bool,
) -> tuple[Choice, str]:
    """The choice and its reason in words. `adapted` is why there is none, where there is none.

    The adapted one serves where nothing speaks against it (`reasons_to_refuse`) and what is served by that of the start
    is not better. That of the start goes on beside its own towers unless it surely loses, beside others only where
    nothing speaks against it.
    """
    if isinstance(adapted, str):
        refused = adapted
    elif adapted.reasons:
        refused = "; ".join(adapted.reasons)
    elif over_original is not None and over_original.gain < 0:
        refused = f"what is served is better by that of the start ({in_numbers(over_original)})"
    else:
        return "adapted", f"what is served gains on held-out queries ({in_numbers(adapted.known[ALL])})"
    if not towers_changed and not original.surely_loses:
        return "original", f"adapted one refused: {refused}"
    if towers_changed and not original.reasons:
        return "original", f"adapted one refused: {refused}; that of the start gains beside the adapted towers"
    total = original.known.get(ALL)
    numbers = f" ({in_numbers(total)})" if total else ""
    return "none", f"adapted one refused: {refused}; that of the start does not pay{numbers}"
