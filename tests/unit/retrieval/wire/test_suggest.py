import pytest

from retrieval.wire.request import InvalidRequest
from retrieval.wire.suggest import Prefix, read_prefix
from tandem.v1 import search_pb2


def test_a_prefix_is_read_as_typed() -> None:
    assert read_prefix(search_pb2.SuggestRequest(prefix="Kit ", limit=3)) == Prefix("Kit ", 3)
    assert read_prefix(search_pb2.SuggestRequest()) == Prefix("", 8)
    assert read_prefix(search_pb2.SuggestRequest(prefix="\x00" * 400 + "a" * 112)).limit == 8


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (search_pb2.SuggestRequest(prefix="a" * 129), ["prefix"]),
        (search_pb2.SuggestRequest(prefix=" " * 513), ["prefix"]),
        (search_pb2.SuggestRequest(prefix="\u53a8" * 129), ["prefix"]),
        (search_pb2.SuggestRequest(limit=21), ["limit"]),
        (search_pb2.SuggestRequest(limit=-1, catalog="c" * 129), ["limit", "catalog"]),
    ],
)
def test_every_field_at_fault_is_named(request_: search_pb2.SuggestRequest, fields: list[str]) -> None:
    with pytest.raises(InvalidRequest) as error:
        read_prefix(request_)
    assert [violation.field for violation in error.value.violations] == fields
    assert "\n" not in str(error.value)
