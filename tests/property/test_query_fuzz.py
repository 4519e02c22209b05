"""Whatever a client sends is a query or an invalid request, and never another error."""

import unicodedata

from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given, settings
from hypothesis import strategies as st

from core.plan import MAX_TOP_K
from retrieval.server.calls import Unreadable, reader
from retrieval.wire.request import MAX_QUERY_CHARACTERS, PRODUCT_FIELDS, Query, check_market, read_query
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import search_pb2

_INT32 = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 205)
# Protobuf strings hold no surrogates.
_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.sampled_from("ae\u0301\u200b\x00 \n?€靴"))
_PATHS = st.lists(st.sampled_from([*PRODUCT_FIELDS, "*", "", "price.units"]) | _TEXT, max_size=4)


def _read(request: search_pb2.SearchRequest) -> Query | InvalidRequest:
    try:
        query = read_query(request)
        check_market(query, "en", "IE")
        return query
    except InvalidRequest as error:
        assert error.violations and all(violation.field and violation.description for violation in error.violations)
        return error


def _check(query: Query) -> None:
    assert 1 <= len(query.text) <= MAX_QUERY_CHARACTERS
    assert query.text == query.text.strip() and unicodedata.is_normalized("NFC", query.text)
    assert not any(unicodedata.category(character) == "Cc" for character in query.text)
    assert 1 <= query.top_k <= MAX_TOP_K
    assert query.fields and set(query.fields) <= set(PRODUCT_FIELDS) and len(set(query.fields)) == len(query.fields)


@given(_TEXT, _INT32)
def test_any_text_and_any_number(text: str, top_k: int) -> None:
    result = _read(search_pb2.SearchRequest(query=text, top_k=top_k))
    if isinstance(result, Query):
        _check(result)
    else:
        assert {violation.field for violation in result.violations} <= {"query", "top_k"}


@given(_TEXT, _INT32, _TEXT, _TEXT, _TEXT, _PATHS, _TEXT)
def test_any_request(
    text: str, top_k: int, catalog: str, language: str, country: str, paths: list[str], variant: str
) -> None:
    request = search_pb2.SearchRequest(
        query=text,
        top_k=top_k,
        catalog=catalog,
        language=language,
        country=country,
        product_mask=FieldMask(paths=paths),
        experiment=search_pb2.ExperimentContext(variant_id=variant),
    )
    result = _read(request)
    if isinstance(result, Query):
        _check(result)


@settings(max_examples=300)
@given(st.binary(max_size=60) | _TEXT.map(lambda text: search_pb2.SearchRequest(query=text).SerializeToString()[:-1]))
def test_any_bytes(data: bytes) -> None:
    request = reader(search_pb2.SearchRequest)(data)
    if not isinstance(request, Unreadable):
        result = _read(request)
        if isinstance(result, Query):
            _check(result)
