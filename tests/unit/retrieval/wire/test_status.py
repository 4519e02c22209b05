"""A call's failure as a google.rpc.Status, small enough for every client."""

import base64
import urllib.parse

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from retrieval.wire.status import bad_request, brief, retry_info, status_metadata
from retrieval.wire.violations import Violation

MOST = 4096


def on_the_wire(message: str, violations: list[Violation]) -> int:
    """Bytes of the message as HTTP/2 carries it, percent-encoded, and of the details in base64."""
    code = grpc.StatusCode.INVALID_ARGUMENT
    [(key, value)] = status_metadata(code, brief(message), [bad_request(violations)])
    printable = "".join(map(chr, range(32, 127))).replace("%", "")
    encoded = urllib.parse.quote(brief(message), safe=printable)
    return len(encoded) + len(key) + len(base64.b64encode(value))


def test_a_status_carries_its_details() -> None:
    details = [bad_request([Violation("query", "is empty"), Violation("top_k", "is -1")]), retry_info(1.25)]
    [(key, value)] = status_metadata(grpc.StatusCode.INVALID_ARGUMENT, "why", details)
    status = status_pb2.Status.FromString(value)
    assert (key, status.code, status.message) == ("grpc-status-details-bin", 3, "why")
    bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(bad) and status.details[1].Unpack(retry)
    assert [(v.field, v.description) for v in bad.field_violations] == [("query", "is empty"), ("top_k", "is -1")]
    assert retry.retry_delay == Duration(seconds=1, nanos=250_000_000)


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_status_names_its_code(code: grpc.StatusCode) -> None:
    [(_, value)] = status_metadata(code, "", [])
    assert status_pb2.Status.FromString(value).code == code.value[0]


@pytest.mark.parametrize("character", ["x", "%", "\n", "é", "靴", "🔥", "\ud800"])
@pytest.mark.parametrize("length", [1, 88, 266, 267, 799, 800, 801, 100_000])
def test_a_message_is_cut_by_what_it_takes_on_the_wire(character: str, length: int) -> None:
    taken, whole = brief(character * length), (character * length).replace("\ud800", "?")
    assert len(urllib.parse.quote(taken, safe="x?")) <= 800
    if len(urllib.parse.quote(whole, safe="x?")) <= 800:
        assert taken == whole
    else:
        assert taken.endswith("…") and whole.startswith(taken[:-1])
        assert len(urllib.parse.quote(taken + character, safe="x?", errors="replace")) > 790  # no more than needs be


@pytest.mark.parametrize("text", ["a short one", "x" * 5000, "🔥" * 5000, "%" * 5000])
@pytest.mark.parametrize("count", [0, 1, 10, 500])
def test_a_status_fits_whatever_it_says(text: str, count: int) -> None:
    assert on_the_wire(text, [Violation(f"field[{i}]", text[:200]) for i in range(count)]) <= MOST


def test_violations_without_room_are_left_out_from_the_end() -> None:
    kept = bad_request([Violation(f"f{i}", "x" * 300) for i in range(20)]).field_violations
    assert [violation.field for violation in kept] == ["f0", "f1", "f2", "f3"]
