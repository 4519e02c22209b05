"""Whatever a client sends is a query or an invalid request, and never another error."""

import unicodedata

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.columns import Column, Kind
from core.plan import MAX_TOP_K
from retrieval.listing.facets import count_facet
from retrieval.listing.page_token import (
    MAX_HEAD,
    MAX_TOKEN_CHARACTERS,
    InvalidToken,
    PageToken,
    decode_token,
    encode_token,
)
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


_FLOAT = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, 0.5, 1.0])
_NAME = st.sampled_from(["brand", "price", "attributes.Voltage", ""]) | _TEXT | st.sampled_from(["x" * 129, "靴" * 40])
_FACETS = st.fixed_dictionaries(
    {},
    optional={
        "field": _NAME,
        "limit": _INT32,
        "exclude_own_filter": st.booleans(),
        "borders": st.lists(_FLOAT, max_size=5) | st.just([0.0] * 200) | st.just([float(i) for i in range(20)]),
        "interval": _FLOAT,
        "prefix": _TEXT | st.just("y" * 300),
    },
)
_TOKENS = _TEXT | st.text("ABCabc019-_=", max_size=200) | st.just("A" * (64 << 10))


def _many(entries: st.SearchStrategy, most: int) -> st.SearchStrategy:
    return st.lists(entries, max_size=most) | entries.map(lambda entry: [entry] * 10_000)


_LISTINGS = st.fixed_dictionaries(
    {},
    optional={
        "facets": _many(_FACETS, 4),
        "sort": _many(st.fixed_dictionaries({"field": _NAME, "descending": st.booleans()}), 3),
        "total": _INT32,
        "match": _INT32,
        "understanding": _INT32,
        "explain_words": _INT32,
        "page_token": _TOKENS,
        "group_by": st.fixed_dictionaries({"field": _NAME, "variants": _INT32}),
        "diversity": st.fixed_dictionaries(
            {"strength": _FLOAT, "caps": _many(st.fixed_dictionaries({"field": _NAME, "most": _INT32}), 3)}
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(_LISTINGS)
def test_any_list_is_read_or_refused(parts: dict) -> None:
    result = _read(search_pb2.SearchRequest(query="mug", **parts))
    if isinstance(result, InvalidRequest):
        assert len(str(result)) < 4096 and len(result.violations) <= 10
        assert {one.field.partition("[")[0].partition(".")[0] for one in result.violations} <= set(parts)
        return
    spec = result.listing
    assert len(spec.facets) <= 16 and len(spec.sort) <= 4 and 0 <= spec.diversity.strength <= 1
    for facet in spec.facets:
        assert facet.field and 1 <= facet.limit <= 1000 and len(facet.borders) <= 101
        column = Column(Kind.number, numbers=np.array([1.0, 12.0, 1e9, np.nan]))
        assert count_facet(facet, column, None).missing == 1
    if spec.page_token:
        with pytest.raises(InvalidToken):
            decode_token(spec.page_token)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_tokens_are_read_whole_or_refused(data: st.DataObject) -> None:
    digests = st.binary(min_size=8, max_size=8)
    int64 = st.integers(-(2**63), 2**63 - 1)
    rows = data.draw(st.lists(st.integers(0, 2**32 - 1), max_size=MAX_HEAD))
    token = PageToken(
        data.draw(digests),
        data.draw(digests),
        data.draw(digests),
        data.draw(digests),
        data.draw(int64),
        data.draw(int64),
        data.draw(st.integers(0, 255)),
        data.draw(st.integers(0, 2**32 - 1)),
        np.array(rows, np.uint32),
        np.arange(len(rows), dtype=np.float32),
    )
    text = encode_token(token)
    assert len(text) <= MAX_TOKEN_CHARACTERS
    read = decode_token(text)
    assert read.products.tolist() == rows and read.scores.tolist() == token.scores.tolist()
    assert (read.release, read.request, read.rules, read.searched, read.revision) == (
        token.release,
        token.request,
        token.rules,
        token.searched,
        token.revision,
    )
    assert (read.now, read.sources, read.offset) == (token.now, token.sources, token.offset)
    place = data.draw(st.integers(0, len(text) - 2))  # of the last character, some bits count for nothing
    other = data.draw(st.sampled_from("AZaz09-_.\n靴").filter(lambda letter: letter != text[place]))
    for broken in (text[:place] + other + text[place + 1 :], text[:place], text + "AAAA"):
        with pytest.raises(InvalidToken):
            decode_token(broken)


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
