import base64
import math
from typing import Any

import pytest

from retrieval.listing.page_token import MAX_TOKEN_CHARACTERS, InvalidToken, decode_token
from retrieval.listing.spec import PLAIN, Cap, Diversity, FacetSpec, GroupSpec, ListingSpec, SortKey
from retrieval.wire.listing import listing_violations, read_listing
from retrieval.wire.request import read_query
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import search_pb2

BRAND = {"field": "brand"}


def request(**parts: Any) -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(query="mug", **parts)


def violations(**parts: Any) -> list[tuple[str, str]]:
    return [(one.field, one.description) for one in listing_violations(request(**parts))]


def test_a_request_for_hits_alone_is_plain() -> None:
    assert read_listing(request(top_k=5, explain=True)) is PLAIN
    assert not PLAIN.needs_matches and not PLAIN.fields


def test_everything_is_read() -> None:
    spec = read_listing(
        request(
            facets=[
                BRAND,
                {"field": "price", "limit": 3, "exclude_own_filter": True, "borders": [1, 2], "prefix": "a"},
                {"field": "size", "interval": 2.5},
            ],
            sort=[{"field": "price", "descending": True}, BRAND],
            total="TOTAL_MODE_EXACT",
            match="MATCH_MODE_ALL",
            group_by={"variants": 3},
            page_token="t",
        )
    )
    assert spec.digest and spec == ListingSpec(
        facets=(
            FacetSpec("brand", 10),
            FacetSpec("price", 3, True, (1.0, 2.0), 0.0, "a"),
            FacetSpec("size", 10, interval=2.5),
        ),
        sort=(SortKey("price", True), SortKey("brand")),
        group=GroupSpec("item_group_id", 3),
        count=True,
        match_all=True,
        page_token="t",
        digest=spec.digest,
    )
    assert spec.fields == {
        "facets[0].field": "brand",
        "facets[1].field": "price",
        "facets[2].field": "size",
        "sort[0].field": "price",
        "sort[1].field": "brand",
        "group_by.field": "item_group_id",
    }
    approximate = read_listing(request(total="TOTAL_MODE_AT_LEAST", group_by=BRAND))
    assert approximate.approximate and not approximate.count and approximate.group == GroupSpec("brand", 0)


def test_diversity_alone_needs_no_match_set() -> None:
    spec = read_listing(request(diversity={"strength": 0.5, "caps": [{"field": "brand", "most": 3}]}))
    assert spec.diversity == Diversity(0.5, (Cap("brand", 3),)) and not spec.needs_matches


@pytest.mark.parametrize(
    "parts",
    [{"facets": [BRAND]}, {"sort": [BRAND]}, {"group_by": {}}, {"page_token": "x"}, {"match": "MATCH_MODE_ALL"}]
    + [{"total": mode} for mode in ("TOTAL_MODE_EXACT", "TOTAL_MODE_AT_LEAST")],
)
def test_each_part_asks_for_a_match_set(parts: dict[str, Any]) -> None:
    spec = read_listing(request(**parts))
    assert spec.needs_matches and spec.digest


def test_the_digest_is_of_what_may_not_change_between_pages() -> None:
    digest = read_listing(request(facets=[BRAND])).digest
    free: list[dict[str, Any]] = [
        {"top_k": 50},
        {"page_token": "t"},
        {"product_mask": {"paths": ["title"]}},
        {"explain": True},
        {"explain_words": 3},
        {"experiment": {"experiment_id": "e"}},
        {"user": {"user_id": "u"}},
        {"least_revision": 7},
    ]
    for parts in free:
        assert read_listing(request(facets=[BRAND], **parts)).digest == digest, parts
    fixed: list[dict[str, Any]] = [
        {"catalog": "c"},
        {"language": "en"},
        {"country": "IE"},
        {"filter": {"exists": "brand"}},
        {"sort": [BRAND]},
        {"total": "TOTAL_MODE_EXACT"},
        {"group_by": {}},
        {"diversity": {"strength": 0.5}},
        {"understanding": "UNDERSTANDING_MODE_HARD"},
        {"match": "MATCH_MODE_ALL"},
        {"verbatim": True},
    ]
    digests = [read_listing(request(facets=[BRAND], **parts)).digest for parts in fixed]
    assert len({digest, *digests}) == len(fixed) + 1
    named = {next(iter(parts)) for parts in free + fixed} | {"query", "facets"}
    assert named == set(search_pb2.SearchRequest.DESCRIPTOR.fields_by_name)  # a new field has to be in one of them
    assert read_listing(search_pb2.SearchRequest(query="cup", facets=[BRAND])).digest != digest
    assert read_listing(request(facets=[{"field": "brand", "limit": 3}])).digest != digest


@pytest.mark.parametrize(
    ("parts", "field", "description"),
    [
        ({"total": 9}, "total", "is 9; send one of TOTAL_MODE_UNSPECIFIED, TOTAL_MODE_EXACT, TOTAL_MODE_AT_LEAST"),
        ({"match": -1}, "match", "is -1; send one of MATCH_MODE_UNSPECIFIED, MATCH_MODE_ALL"),
        ({"facets": [BRAND] * 17}, "facets", "has 17 entries; send at most 16"),
        ({"facets": [BRAND, {}]}, "facets[1].field", "is empty; name a field of the catalog"),
        ({"facets": [BRAND | {"limit": -1}]}, "facets[0].limit", "is -1; send 1 to 1000, or 0 for 10"),
        ({"facets": [BRAND | {"limit": 1001}]}, "facets[0].limit", "is 1001; send 1 to 1000, or 0 for 10"),
        ({"facets": [BRAND | {"borders": range(102)}]}, "facets[0].borders", "has 102 borders; send at most 101"),
        ({"facets": [BRAND | {"borders": [1]}]}, "facets[0].borders", "do not ascend; send two or more, each higher"),
        ({"facets": [BRAND | {"borders": [1, 1]}]}, "facets[0].borders", "do not ascend"),
        ({"facets": [BRAND | {"borders": [2, 1]}]}, "facets[0].borders", "do not ascend"),
        ({"facets": [BRAND | {"borders": [0, math.nan]}]}, "facets[0].borders", "do not ascend"),
        ({"facets": [BRAND | {"borders": [0, math.inf]}]}, "facets[0].borders", "are not finite numbers"),
        ({"facets": [BRAND | {"borders": [-math.inf, 0]}]}, "facets[0].borders", "are not finite numbers"),
        ({"facets": [BRAND | {"interval": -1}]}, "facets[0].interval", "is -1; send a width above 0, or none"),
        ({"facets": [BRAND | {"interval": math.nan}]}, "facets[0].interval", "is nan; send a width above 0"),
        ({"facets": [BRAND | {"interval": math.inf}]}, "facets[0].interval", "is inf; send a width above 0"),
        ({"facets": [BRAND | {"interval": 1, "borders": [1, 2]}]}, "facets[0].interval", "is given beside borders"),
        ({"facets": [BRAND | {"prefix": "x" * 257}]}, "facets[0].prefix", "has 257 characters; send at most 256"),
        ({"sort": [BRAND] * 5}, "sort", "has 5 entries; send at most 4"),
        ({"sort": [{"descending": True}]}, "sort[0].field", "is empty"),
        ({"sort": [{"field": "x" * 129}]}, "sort[0].field", "has 129 characters; send at most 128"),
        ({"group_by": {"field": "x" * 129}}, "group_by.field", "has 129 characters; send at most 128"),
        ({"group_by": {"variants": 21}}, "group_by.variants", "is 21; send 0 to 20"),
        ({"group_by": {"variants": -1}}, "group_by.variants", "is -1; send 0 to 20"),
        ({"diversity": {"strength": 1.5}}, "diversity.strength", "is 1.5; send 0 to 1"),
        ({"diversity": {"strength": math.nan}}, "diversity.strength", "is nan; send 0 to 1"),
        ({"diversity": {"caps": [BRAND | {"most": 1}] * 5}}, "diversity.caps", "has 5 entries; send at most 4"),
        ({"diversity": {"caps": [{"most": 1}]}}, "diversity.caps[0].field", "is empty"),
        ({"diversity": {"caps": [BRAND]}}, "diversity.caps[0].most", "is 0; send 1 to 50"),
        ({"diversity": {"caps": [BRAND | {"most": 51}]}}, "diversity.caps[0].most", "is 51; send 1 to 50"),
        ({"sort": [BRAND], "diversity": {"strength": 0.5}}, "diversity", "send it without sort"),
        ({"page_token": "x" * (MAX_TOKEN_CHARACTERS + 1)}, "page_token", "is not a token that this service made"),
    ],
)
def test_each_fault_is_named_once(parts: dict[str, Any], field: str, description: str) -> None:
    [(named, text)] = violations(**parts)
    assert named == field and description in text
    with pytest.raises(InvalidRequest) as error:
        read_query(request(**parts))
    assert [one.field for one in error.value.violations] == [field]


def test_what_is_at_its_bound_is_read() -> None:
    facet = BRAND | {"limit": 1000, "borders": range(101), "prefix": "x" * 256}
    caps = [BRAND | {"most": 50}] * 4
    assert violations(facets=[facet] * 16, group_by={"variants": 20}, diversity={"strength": 1, "caps": caps}) == []
    assert violations(sort=[{"field": "x" * 128}] * 4, page_token="x" * MAX_TOKEN_CHARACTERS) == []


def test_hostile_sizes_are_one_short_refusal() -> None:
    many = request(facets=[{"limit": -1, "prefix": "y" * 300}] * 10_000, page_token="z" * (64 << 10))
    many.sort.extend([search_pb2.SortKey(field="w" * 5000)] * 9)
    many.diversity.caps.extend([search_pb2.Cap()] * 1000)
    with pytest.raises(InvalidRequest) as error:
        read_query(many)
    assert len(error.value.violations) == 10 and len(str(error.value)) < 2000


@pytest.mark.parametrize(
    "text", ["", "A", "=", "AQ==", "靴", "A" * MAX_TOKEN_CHARACTERS, "_" * 100, "\x00" * 40, " AQ"]
)
def test_tokens_that_no_service_made(text: str) -> None:
    with pytest.raises(InvalidToken, match="is not a token that this service made"):
        decode_token(text)
    with pytest.raises(InvalidToken):
        decode_token(base64.urlsafe_b64encode(text.encode() * 9).decode().rstrip("="))
