"""Tokens: what goes in comes out, and nothing else comes in."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.listing.page_token import MAX_HEAD, InvalidToken, PageToken, check_token, decode_token, encode_token


def token(rows: list[int], offset: int = 10) -> PageToken:
    scores = np.arange(len(rows), dtype=np.float32) / 3
    return PageToken(
        b"release!",
        b"request!",
        b"therules",
        b"searched",
        3,
        1_795_000_000,
        3,
        offset,
        np.array(rows, np.uint32),
        scores,
    )


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.integers(0, 10_000))
def test_a_token_comes_back(rows: list[int], offset: int) -> None:
    made = token(rows, offset)
    read = decode_token(encode_token(made))
    assert read.products.tolist() == rows and read.scores.tolist() == made.scores.tolist()
    assert (read.release, read.request, read.rules, read.revision) == (b"release!", b"request!", b"therules", 3)
    assert read.searched == b"searched"
    assert (read.now, read.sources, read.offset) == (1_795_000_000, 3, offset)


def test_a_long_head_is_bounded() -> None:
    text = encode_token(token(list(range(5000))))
    assert len(text) < 5000 and len(decode_token(text).products) == MAX_HEAD


@given(st.text(max_size=300))
def test_foreign_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        decode_token(text)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_changed_bit_is_seen(place: int, bit: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(encode_token(token([5, 6, 7])) + "=="))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(InvalidToken):
        decode_token(base64.urlsafe_b64encode(bytes(data)).decode())


@pytest.mark.parametrize(
    ("release", "request_digest", "reason"),
    [(b"release!", b"another!", "of another request"), (b"another!", b"request!", "no longer served")],
)
def test_a_token_of_something_else_is_refused(release: bytes, request_digest: bytes, reason: str) -> None:
    check_token(token([1]), b"release!", b"request!")
    with pytest.raises(InvalidToken, match=reason):
        check_token(token([1]), release, request_digest)
