from pathlib import Path

from doubles import make_release

from catalog.view import CatalogView
from retrieval.listing.facets import FacetCounts
from retrieval.pipeline.result import FilterReport, SearchResult, Total
from retrieval.wire.page import MOST_FACET_BYTES, add_listing, fitting_values
from tandem.v1 import search_pb2

EXACT, AT_LEAST = search_pb2.TOTAL_RELATION_EXACT, search_pb2.TOTAL_RELATION_AT_LEAST


def view(folder: Path) -> CatalogView:
    return make_release(folder).view


def test_an_answer_that_is_not_of_a_match_set_has_its_filter_report_alone(tmp_path: Path) -> None:
    answer = SearchResult(view(tmp_path), filter=FilterReport(7, "scan"), next_page_token="t")
    answer.facets = [FacetCounts("brand", [("a", 1)])]
    message = search_pb2.SearchResponse()
    assert add_listing(message, answer) == 0
    assert message == search_pb2.SearchResponse(filter=search_pb2.FilterReport(passing=7, execution="scan"))


def test_totals_groups_and_facets_state_whether_they_are_exact(tmp_path: Path) -> None:
    for exact, relation in ((True, EXACT), (False, AT_LEAST)):
        answer = SearchResult(view(tmp_path), total=Total(12, exact), groups=Total(5, exact), next_page_token="t")
        answer.facets = [
            FacetCounts("brand", [("Acme", 9), ("Bolt", 2)], more_values=3, missing=1),
            FacetCounts("price", ranges=[(0.0, 10.0, 4), (10.0, 20.0, 8)], extent=(1.5, 19.0)),
        ]
        message = search_pb2.SearchResponse()
        assert add_listing(message, answer) == 0
        brand = search_pb2.Facet(field="brand", more_values=3, missing=1, relation=relation)
        brand.values.add(value="Acme", count=9)
        brand.values.add(value="Bolt", count=2)
        price = search_pb2.Facet(field="price", relation=relation)
        price.ranges.add(at_least=0, below=10, count=4)
        price.ranges.add(at_least=10, below=20, count=8)
        price.statistics.least, price.statistics.most = 1.5, 19.0
        assert message == search_pb2.SearchResponse(
            total=search_pb2.Total(value=12, relation=relation),
            groups=search_pb2.Total(value=5, relation=relation),
            next_page_token="t",
            facets=[brand, price],
        )


def test_a_total_of_nothing_is_there(tmp_path: Path) -> None:
    message = search_pb2.SearchResponse()
    add_listing(message, SearchResult(view(tmp_path), total=Total(0, True)))
    assert message.HasField("total") and message.total.value == 0 and not message.HasField("groups")


def test_facets_have_a_bound_in_bytes_and_count_what_they_leave_out(tmp_path: Path) -> None:
    """Values of a thousand letters of three bytes each: some fit, and every facet says how many do not."""
    values = [(f"{number:04}" + "靴" * 1000, 10_000 - number) for number in range(60)]
    answer = SearchResult(view(tmp_path), total=Total(1, True))
    answer.facets = [FacetCounts(f"f{number}", values, more_values=5) for number in range(3)]
    message = search_pb2.SearchResponse()
    cut = add_listing(message, answer)
    assert MOST_FACET_BYTES - 10_000 < message.ByteSize() <= MOST_FACET_BYTES
    kept = [len(facet.values) for facet in message.facets]
    assert kept[0] == 60 and 0 < kept[1] < 60 and kept[2] == 0 and sum(kept) + cut == 180
    assert [facet.more_values for facet in message.facets] == [5 + 60 - count for count in kept]
    assert [value.value for value in message.facets[1].values] == [text for text, _ in values[: kept[1]]]


def test_values_after_one_that_does_not_fit_are_left_out_too() -> None:
    """The first of a facet are those of the most products: none is skipped."""
    facet = FacetCounts("brand", [("a", 3), ("b" * 100, 2), ("c", 1)])
    assert list(fitting_values(facet, 60)) == [("a", 3)]
    assert list(fitting_values(facet, 300)) == list(facet.values)
    assert list(fitting_values(facet, 0)) == []
