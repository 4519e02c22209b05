"""The rule for formats: this version's own and the one before are read, and no other."""

import json

import pytest

from core.formats import Format

_PART = Format("thing", 5)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (5, ""),
        (4, ""),
        (3, "the thing has format 3, and this version reads 4 and 5: run `make` again"),
        (6, "the thing has format 6, and this version reads 4 and 5: upgrade Tandem, or run `make` with this version"),
    ],
)
def test_a_format_is_read_or_the_message_says_what_to_do(number: int, expected: str) -> None:
    assert _PART.problem(number, "run `make`") == expected
    assert _PART.problem_of(json.dumps({"format": number, "more": []}).encode(), "run `make`") == expected


def test_the_first_format_has_none_before_it() -> None:
    assert Format("thing", 1).readable == (1,)
    assert "this version reads 1:" in Format("thing", 1).problem(2, "run `make`")


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"[]", b"{}", b'{"format": "5"}', b"\xff\xfe"])
def test_what_states_no_format_is_left_to_whoever_reads_the_rest(data: bytes) -> None:
    assert _PART.problem_of(data, "run `make`") == ""
