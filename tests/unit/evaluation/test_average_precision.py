import pytest

from evaluation.average_precision import average_precision


@pytest.mark.parametrize(
    ("ranked", "taken", "expected"),
    [
        ("abc", "a", 1.0),
        ("bac", "a", 1 / 2),
        # Hits at ranks 1 and 3: (1 / 1 + 2 / 3) over the two taken.
        ("abc", "ac", (1 + 2 / 3) / 2),
        # One of four is found, at rank 2: precision 1 / 2 over four.
        ("xb", "abcd", 0.5 / 4),
        ("xyz", "abc", 0.0),
        ("", "a", 0.0),
        ("abc", "", 0.0),
        ("aab", "ab", (1 + 2 / 3) / 2),  # the same product shown again is no second hit
    ],
)
def test_average_precision_by_hand(ranked: str, taken: str, expected: float) -> None:
    assert average_precision(ranked, taken) == pytest.approx(expected)


def test_what_comes_after_the_cutoff_counts_nothing_and_more_taken_than_it_do_not_lower_the_best() -> None:
    thirteen = "abcdefghijklm"
    assert average_precision(thirteen, "m") == 0
    assert average_precision(thirteen, thirteen) == 1
    assert average_precision("xabc", "abc", k=2) == pytest.approx((1 / 2) / 2)
