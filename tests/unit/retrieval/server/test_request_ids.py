"""Ids of requests: those that callers send, and those made in their place."""

import pytest

from retrieval.server.request_ids import read_request_id


@pytest.mark.parametrize(
    "sent", ["r-1", "x" * 128, "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "1764386400123", "req-20261129-000123", "é"]
)
def test_what_a_caller_sends_is_the_id(sent: str) -> None:
    assert read_request_id((("other", "x"), ("x-request-id", sent))) == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a\tb", "ann@example.com", "4111111111111111", "+442079460018"])
def test_what_is_too_long_not_to_be_printed_or_personal_is_made_anew(sent: str) -> None:
    made = read_request_id((("x-request-id", sent),))
    assert len(made) == 32 and made != read_request_id((("x-request-id", sent),))
