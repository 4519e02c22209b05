import pytest

from core.errors import TandemError
from lifecycle.cli.search_request import read_cap, read_facet, read_fields, read_sort_key
from tandem.v1 import search_pb2


@pytest.mark.parametrize(
    ("text", "facet"),
    [
        ("brand", search_pb2.FacetRequest(field="brand")),
        ("brand:5", search_pb2.FacetRequest(field="brand", limit=5)),
        ("brand:-1", search_pb2.FacetRequest(field="brand", limit=-1)),  # which the service refuses
        ("price:0,19.5,50", search_pb2.FacetRequest(field="price", borders=[0, 19.5, 50])),
        ("attributes.Temp:-10,.5", search_pb2.FacetRequest(field="attributes.Temp", borders=[-10, 0.5])),
        ("attributes.a:b", search_pb2.FacetRequest(field="attributes.a:b")),
        ("attributes.a:b:3", search_pb2.FacetRequest(field="attributes.a:b", limit=3)),
        ("brand:", search_pb2.FacetRequest(field="brand:")),
        (":3", search_pb2.FacetRequest(field=":3")),
        ("", search_pb2.FacetRequest()),
    ],
)
def test_facets(text: str, facet: search_pb2.FacetRequest) -> None:
    assert read_facet(text, False) == facet
    facet.exclude_own_filter = True
    assert read_facet(text, True) == facet


@pytest.mark.parametrize("text", ["brand:9x", "brand:99999999999", "price:0,,5", "price:1,2,", "brand:1.5"])
def test_facets_with_numbers_that_are_none(text: str) -> None:
    with pytest.raises(TandemError, match=r"^--facet .* is no number that fits$"):
        read_facet(text, False)


def test_sort_keys() -> None:
    assert read_sort_key("price") == search_pb2.SortKey(field="price")
    assert read_sort_key("-price") == search_pb2.SortKey(field="price", descending=True)
    assert read_sort_key("--x").field == "-x"


def test_caps() -> None:
    assert read_cap("brand=3") == search_pb2.Cap(field="brand", most=3)
    assert read_cap("attributes.a=b=3") == search_pb2.Cap(field="attributes.a=b", most=3)
    for text in ("brand", "=3", ""):
        with pytest.raises(TandemError, match="write FIELD=N"):
            read_cap(text)
    for text in ("brand=", "brand=x", "brand=99999999999"):
        with pytest.raises(TandemError, match="is no number that fits"):
            read_cap(text)


def test_fields() -> None:
    assert read_fields(["brand, color", "size", ",,"]) == ["brand", "color", "size"]
