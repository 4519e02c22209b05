"""Reads what a request asks of its list: facets, order, groups, diversity, pages."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from core.strings import quoted
from retrieval.listing.page_token import MAX_TOKEN_CHARACTERS, digest8
from retrieval.listing.spec import (
    CAP_WINDOW,
    DEFAULT_FACET_VALUES,
    DEFAULT_GROUP_FIELD,
    PLAIN,
    Cap,
    Diversity,
    FacetSpec,
    GroupSpec,
    ListingSpec,
    SortKey,
)
from retrieval.wire.violations import Violation
from tandem.v1 import recommend_pb2, search_pb2

_MOST_FACETS, _MOST_VALUES, _MOST_BORDERS = 16, 1000, 101
_MOST_KEYS, _MOST_CAPS, _MOST_VARIANTS = 4, 4, 20
_MOST_NAME, _MOST_PREFIX = 128, 256
# May differ between the pages of a list; what the shopper did meanwhile changes no later page.
_OF_A_PAGE = (
    *("page_token", "top_k", "product_mask", "explain", "explain_words", "experiment"),
    *("user", "least_revision"),
)

ListRequest: TypeAlias = search_pb2.SearchRequest | recommend_pb2.RecommendRequest
"""What asks for a list; fields of the same name have the same meaning."""


def read_listing(request: ListRequest) -> ListingSpec:
    """The listing of a request without violations."""
    if not any(request.HasField(name) for name in ("group_by", "diversity")) and not (
        request.facets or request.sort or request.total or _match(request) or request.page_token
    ):
        return PLAIN
    spec = ListingSpec(
        facets=tuple(
            FacetSpec(
                facet.field,
                facet.limit or DEFAULT_FACET_VALUES,
                facet.exclude_own_filter,
                tuple(facet.borders),
                facet.interval,
                facet.prefix,
            )
            for facet in request.facets
        ),
        sort=tuple(SortKey(key.field, key.descending) for key in request.sort),
        group=_group(request) if request.HasField("group_by") else None,
        diversity=Diversity(
            request.diversity.strength, tuple(Cap(cap.field, cap.most) for cap in request.diversity.caps)
        ),
        count=request.total == search_pb2.TOTAL_MODE_EXACT,
        approximate=request.total == search_pb2.TOTAL_MODE_AT_LEAST,
        match_all=_match(request) == search_pb2.MATCH_MODE_ALL,
        page_token=request.page_token,
    )
    return replace(spec, digest=_digest(request)) if spec.needs_matches else spec


def listing_violations(request: ListRequest) -> Iterator[Violation]:
    """Everything about the list that cannot be answered, whatever the catalog."""
    for name, mode, modes in (
        ("total", request.total, search_pb2.TotalMode),
        ("match", _match(request), search_pb2.MatchMode),
    ):
        if mode not in modes.values():
            yield Violation(name, f"is {mode}; send one of {', '.join(modes.keys())}")
    yield from _too_many("facets", request.facets, _MOST_FACETS)
    for place, facet in enumerate(request.facets[:_MOST_FACETS]):
        yield from _facet_violations(f"facets[{place}]", facet)
    yield from _too_many("sort", request.sort, _MOST_KEYS)
    for place, key in enumerate(request.sort[:_MOST_KEYS]):
        yield from _field_violations(f"sort[{place}].field", key.field)
    if len(request.group_by.field) > _MOST_NAME:
        yield from _field_violations("group_by.field", request.group_by.field)
    if not 0 <= request.group_by.variants <= _MOST_VARIANTS:
        yield Violation("group_by.variants", f"is {request.group_by.variants}; send 0 to {_MOST_VARIANTS}")
    yield from _diversity_violations(request)
    if len(request.page_token) > MAX_TOKEN_CHARACTERS:
        yield Violation("page_token", "is not a token that this service made; send a next_page_token unchanged")


def _group(request: ListRequest) -> GroupSpec:
    return GroupSpec(request.group_by.field or DEFAULT_GROUP_FIELD, request.group_by.variants)


def _match(request: ListRequest) -> int:
    """Recommendations have no query to match."""
    return request.match if isinstance(request, search_pb2.SearchRequest) else 0


def _digest(request: ListRequest) -> bytes:
    same = type(request)()
    same.CopyFrom(request)  # type: ignore[arg-type]
    for name in _OF_A_PAGE:
        if name in same.DESCRIPTOR.fields_by_name:
            same.ClearField(name)
    return digest8(same.DESCRIPTOR.name, same.SerializeToString(deterministic=True))


def _facet_violations(path: str, facet: search_pb2.FacetRequest) -> Iterator[Violation]:
    yield from _field_violations(f"{path}.field", facet.field)
    if not 0 <= facet.limit <= _MOST_VALUES:
        yield Violation(f"{path}.limit", f"is {facet.limit}; send 1 to {_MOST_VALUES}, or 0 for {DEFAULT_FACET_VALUES}")
    borders = list(facet.borders)
    if len(borders) > _MOST_BORDERS:
        yield Violation(f"{path}.borders", f"has {len(borders)} borders; send at most {_MOST_BORDERS}")
    elif len(borders) == 1 or any(not lower < upper for lower, upper in itertools.pairwise(borders)):
        yield Violation(f"{path}.borders", "do not ascend; send two or more, each higher than the one before")
    elif not all(map(math.isfinite, borders)):
        yield Violation(f"{path}.borders", "are not finite numbers")
    if not (math.isfinite(facet.interval) and facet.interval >= 0):
        yield Violation(f"{path}.interval", f"is {facet.interval:g}; send a width above 0, or none")
    elif facet.interval and borders:
        yield Violation(f"{path}.interval", "is given beside borders; send one of them")
    if len(facet.prefix) > _MOST_PREFIX:
        yield Violation(f"{path}.prefix", f"has {len(facet.prefix)} characters; send at most {_MOST_PREFIX}")


def _diversity_violations(request: ListRequest) -> Iterator[Violation]:
    diversity = request.diversity
    if not 0 <= diversity.strength <= 1:
        yield Violation("diversity.strength", f"is {diversity.strength:g}; send 0 to 1")
    yield from _too_many("diversity.caps", diversity.caps, _MOST_CAPS)
    for place, cap in enumerate(diversity.caps[:_MOST_CAPS]):
        yield from _field_violations(f"diversity.caps[{place}].field", cap.field)
        if not 1 <= cap.most <= CAP_WINDOW:
            yield Violation(f"diversity.caps[{place}].most", f"is {cap.most}; send 1 to {CAP_WINDOW}")
    if request.sort and (diversity.strength or diversity.caps):
        yield Violation("diversity", "spreads an order by relevance; send it without sort")


def _field_violations(path: str, name: str) -> Iterator[Violation]:
    if not name:
        yield Violation(path, "is empty; name a field of the catalog")
    elif len(name) > _MOST_NAME:
        yield Violation(path, f"{quoted(name)} has {len(name)} characters; send at most {_MOST_NAME}")


def _too_many(path: str, entries: Sequence[object], most: int) -> Iterator[Violation]:
    if len(entries) > most:
        yield Violation(path, f"has {len(entries)} entries; send at most {most}")
