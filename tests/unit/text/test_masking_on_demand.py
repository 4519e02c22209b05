"""Masking of what seldom holds personal data."""

import subprocess
import sys

import pytest
from shops import environment

from text.masking_on_demand import mask_if_needed


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ann@example.com", "[email]"),
        ("ann\uff20example.com", "[email]"),
        ("ann (at) example.com", "[email]"),
        ("order of 4111111111111111", "order of [card]"),
        ("4111111111111111", "[card]"),  # all digits: not an id that a machine made
        ("x-12345", "x-12345"),
        ("6f9619ff8b86d011b42d00cf4fc964ff", "6f9619ff8b86d011b42d00cf4fc964ff"),
        ("6f9619ff-8b86-4155-5526-710000000000", "6f9619ff-8b86-4155-5526-710000000000"),
    ],
)
def test_what_looks_personal_is_masked_and_ids_stay(text: str, masked: str) -> None:
    assert mask_if_needed(text) == masked


def test_its_libraries_are_loaded_when_they_are_needed() -> None:
    code = (
        "import sys; from text.masking_on_demand import mask_if_needed as mask; mask('red lamp 12345')\n"
        "print('phonenumbers' in sys.modules); mask('ann@example.com'); print('phonenumbers' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60)
    assert ran.stdout.split() == ["False", "True"]
