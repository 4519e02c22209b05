"""How likely typing errors are, by hand."""

import pytest

from text.typos import typo_cost


@pytest.mark.parametrize(
    ("written", "meant", "errors", "expected"),
    [
        ("hoae", "hose", 1, 1),  # a is beside s
        ("hoke", "hose", 1, 2),
        ("hsoe", "hose", 1, 1),  # swapped
        ("hse", "hose", 1, 1),  # missed
        ("hoose", "hose", 1, 1),  # twice
        ("hosew", "hose", 1, 1.5),  # w is beside e
        ("hosep", "hose", 1, 2),
        ("jose", "hose", 1, 2),  # the first letter, though beside it
        ("pose", "hose", 1, 3),
        ("ose", "hose", 1, 2),
        ("skgns", "signs", 1, 1),
        ("skgns", "skins", 1, 2),  # i is far from g
        ("gadrenn", "garden", 2, 2),  # swapped and twice
        ("hpae", "hose", 2, 2),
        ("hpke", "hose", 2, 3),
        ("čečka", "čepka", 1, 1),  # no key is known for it
    ],
)
def test_what_fingers_hardly_do_counts_twice(written: str, meant: str, errors: int, expected: float) -> None:
    assert typo_cost(written, meant, errors) == expected
