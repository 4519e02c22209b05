"""Which cross-encoder serves beside the towers that were kept."""

import pytest

from lifecycle.adapt.check import ALL, PairedGain
from lifecycle.adapt.ranker_check import Choice, RankerComparison, choose_ranker


def gain(mean: float, width: float = 0.01, queries: int = 100) -> PairedGain:
    return PairedGain(
        queries=queries, before=0.5, after=0.5 + mean, gain=mean, low=mean - width / 2, high=mean + width / 2
    )


def compared(mean: float, agreement: PairedGain | None = None, **ways: PairedGain) -> RankerComparison:
    return RankerComparison({ALL: gain(mean), **ways}, agreement)


@pytest.mark.parametrize("towers_changed", [True, False])
def test_an_adapted_one_that_surely_gains_serves(towers_changed: bool) -> None:
    adapted = compared(0.02, gain(0.0), typo=gain(-0.001))
    choice, reason = choose_ranker(adapted, compared(0.01), gain(0.01), towers_changed)
    assert choice == "adapted" and "0.500 to 0.520, +0.0200" in reason
    assert choose_ranker(adapted, compared(-0.1), None, towers_changed)[0] == "adapted"


@pytest.mark.parametrize(
    ("adapted", "over_original", "words"),
    [
        ("it was not trained", None, "it was not trained"),
        (compared(0.004), gain(0.1), "does not surely gain"),
        (compared(-0.02), gain(0.1), "does not surely gain"),
        (compared(0.02, typo=gain(-0.02)), gain(0.1), "loses on queries of the way 'typo'"),
        (compared(0.02, gain(-0.02)), gain(0.1), "what is served agrees less with the other voters"),
        (compared(0.02), gain(-0.001), "is better by that of the start"),
        (RankerComparison({}, None), None, "0 held-out queries"),
        (RankerComparison({ALL: gain(0.02, queries=19)}, None), None, "19 held-out queries"),
    ],
)
@pytest.mark.parametrize(
    ("original", "towers_changed", "choice"),
    [
        (0.02, False, "original"),
        (-0.004, False, "original"),  # beside its own towers it goes on, unless it surely loses
        (-0.02, False, "none"),
        (0.02, True, "original"),
        (0.004, True, "none"),  # beside others it has to gain
        (-0.02, True, "none"),
    ],
)
def test_a_refused_one_leaves_that_of_the_start_or_none(
    adapted: RankerComparison | str,
    over_original: PairedGain | None,
    words: str,
    original: float,
    towers_changed: bool,
    choice: Choice,
) -> None:
    chosen, reason = choose_ranker(adapted, compared(original), over_original, towers_changed)
    assert chosen == choice and words in reason
    if choice == "none":
        assert "that of the start does not pay (nDCG@10 0.500" in reason
