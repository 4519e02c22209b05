"""`tandem search`: one query to a running service."""

from typing import Annotated

import typer

from core.errors import TandemError
from core.filter_text import parse_filter
from lifecycle.cli import search_options as options
from lifecycle.cli.connection import calls_service
from lifecycle.cli.options import ADDRESS, Address
from lifecycle.cli.terminal import console, print_json


@calls_service
def search(
    query: Annotated[str, typer.Argument(help="The shopper's words.")],
    address: Address = ADDRESS,
    top_k: options.TopK = 10,
    catalog: options.SearchedCatalog = "",
    filter_: options.FilterText = None,
    facet: options.Facets = None,
    multi_select: options.MultiSelect = False,
    sort: options.Sort = None,
    group: options.GroupField = None,
    variants: options.Variants = 0,
    total: options.TotalOption = None,
    page: options.Page = "",
    match: options.Match = "relevant",
    diversity: options.DiversityStrength = 0.0,
    cap: options.Caps = None,
    understanding: options.UnderstandingOption = "soft",
    verbatim: options.Verbatim = False,
    least_revision: options.LeastRevision = 0,
    explain: options.Explain = False,
    explain_words: options.ExplainWords = 0,
    language: options.Language = "",
    country: options.Country = "",
    fields: options.Fields = None,
    timeout: options.Timeout = 5.0,
    as_json: options.Json = False,
) -> None:
    """Search through a running service."""
    from google.protobuf.json_format import MessageToDict

    from lifecycle.cli.search_request import enum_value, read_cap, read_facet, read_fields, read_sort_key
    from lifecycle.cli.show_answer import show_answer
    from lifecycle.client import connect
    from retrieval.wire.filters import filter_message
    from tandem.v1 import search_pb2

    shown = read_fields(fields or ())
    try:
        request = search_pb2.SearchRequest(
            query=query,
            top_k=top_k,
            catalog=catalog,
            language=language,
            country=country,
            facets=[read_facet(text, multi_select) for text in facet or ()],
            sort=[read_sort_key(text) for text in sort or ()],
            total=enum_value("TOTAL_MODE", total or ""),
            page_token=page,
            match=enum_value("MATCH_MODE", match.removeprefix("relevant")),
            understanding=enum_value("UNDERSTANDING_MODE", understanding.removeprefix("soft")),
            verbatim=verbatim,
            least_revision=least_revision,
            explain=explain,
            explain_words=explain_words,
        )
        if group is not None or variants:
            request.group_by.field, request.group_by.variants = group or options.DEFAULT_GROUP, variants
        if diversity or cap:
            request.diversity.strength = diversity
            request.diversity.caps.extend(read_cap(text) for text in cap or ())
        if shown:  # the table has titles and prices beside them
            request.product_mask.paths.extend(shown if as_json else ["title", "price", *shown])
    except UnicodeEncodeError:
        raise TandemError("the query or an option is not UTF-8; check the terminal's encoding") from None
    if filter_ is not None:
        request.filter.CopyFrom(filter_message(parse_filter(filter_)))
    with connect(address, timeout) as client:
        answer = client.search(request)
    if as_json:
        print_json(MessageToDict(answer, preserving_proto_field_name=True))
    else:
        show_answer(console, query, answer, shown)
