"""Totals, facets and pages as messages."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from retrieval.listing.facets import FacetCounts
from retrieval.pipeline.result import SearchResult, Total
from tandem.v1 import recommend_pb2, search_pb2

Answer: TypeAlias = search_pb2.SearchResponse | recommend_pb2.RecommendResponse
"""What answers with a list; fields of the same name have the same meaning."""
MOST_FACET_BYTES = 256 << 10
_VALUE_BYTES = 24  # what a value takes beside its text


def add_listing(message: Answer, answer: SearchResult) -> int:
    """Fills in what an answer has beside its hits. Returns how many values of facets had no room."""
    if answer.filter is not None:
        message.filter.passing, message.filter.execution = answer.filter.passing, answer.filter.execution
    if answer.total is None:
        return 0
    message.total.CopyFrom(_total(answer.total))
    if answer.groups is not None:
        message.groups.CopyFrom(_total(answer.groups))
    message.next_page_token = answer.next_page_token
    room, cut = MOST_FACET_BYTES, 0
    for facet in answer.facets:
        values = list(fitting_values(facet, room))
        room -= sum(map(_size, values))
        cut += len(facet.values) - len(values)
        _add_facet(message, facet, values, answer.total)
    return cut


def fitting_values(facet: FacetCounts, room: int) -> Iterator[tuple[str, int]]:
    """The first values of a facet that fit into so many bytes."""
    for value in facet.values:
        room -= _size(value)
        if room < 0:
            return
        yield value


def _size(value: tuple[str, int]) -> int:
    return len(value[0].encode()) + _VALUE_BYTES


def _add_facet(
    message: Answer,
    facet: FacetCounts,
    values: Sequence[tuple[str, int]],
    total: Total,
) -> None:
    more = facet.more_values + len(facet.values) - len(values)
    added = message.facets.add(field=facet.field, more_values=more, missing=facet.missing, relation=_relation(total))
    for value, count in values:
        added.values.add(value=value, count=count)
    for at_least, below, count in facet.ranges:
        added.ranges.add(at_least=at_least, below=below, count=count)
    if facet.extent is not None:
        added.statistics.least, added.statistics.most = facet.extent


def _total(total: Total) -> search_pb2.Total:
    return search_pb2.Total(value=total.value, relation=_relation(total))


def _relation(total: Total) -> "search_pb2.TotalRelation":
    return search_pb2.TOTAL_RELATION_EXACT if total.exact else search_pb2.TOTAL_RELATION_AT_LEAST
