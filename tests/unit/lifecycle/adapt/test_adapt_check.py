"""When adapted towers may replace the ones before."""

import pytest

from lifecycle.adapt.check import ALL, PairedGain, reasons_to_refuse


def gain(mean: float, width: float = 0.01, queries: int = 100) -> PairedGain:
    return PairedGain(
        queries=queries, before=0.5, after=0.5 + mean, gain=mean, low=mean - width / 2, high=mean + width / 2
    )


def test_a_sure_gain_that_costs_nothing_is_accepted() -> None:
    assert reasons_to_refuse({ALL: gain(0.02), "words": gain(0.03), "typo": gain(-0.004)}, gain(0.0)) == []
    assert reasons_to_refuse({ALL: gain(0.02)}, None) == []


@pytest.mark.parametrize(
    ("known", "agreement", "words"),
    [
        ({ALL: gain(0.004)}, None, "does not surely gain"),
        ({ALL: gain(-0.02)}, None, "does not surely gain"),
        ({ALL: gain(0.02), "typo": gain(-0.02)}, None, "loses on queries of the way 'typo'"),
        ({ALL: gain(0.02)}, gain(-0.02), "agree less"),
        ({ALL: gain(0.02, queries=19)}, None, "19 held-out queries have a known product, of 20 needed"),
        ({}, gain(0.02), "0 held-out queries"),
    ],
)
def test_whatever_is_not_sure_is_refused(
    known: dict[str, PairedGain], agreement: PairedGain | None, words: str
) -> None:
    [reason] = reasons_to_refuse(known, agreement)
    assert words in reason


def test_a_way_with_few_queries_decides_nothing() -> None:
    assert reasons_to_refuse({ALL: gain(0.02), "typo": gain(-0.02, queries=19)}, gain(-0.02, queries=19)) == []


def test_reasons_come_with_their_numbers() -> None:
    [reason] = reasons_to_refuse({ALL: gain(0.004)}, None)
    assert "nDCG@10 0.500 to 0.504, +0.0040 [-0.0010, +0.0090], 100 queries" in reason
