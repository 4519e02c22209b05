"""`tandem recommend`: a list for a shopper, beside a product, or for everybody, from a running service."""

from typing import Annotated, Literal

import typer

from core.errors import TandemError
from core.filter_text import parse_filter
from lifecycle.cli import search_options as options
from lifecycle.cli.connection import calls_service
from lifecycle.cli.options import ADDRESS, Address
from lifecycle.cli.terminal import console, print_json

Recent = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PRODUCT[:ACTION]",
        help="What the shopper did of late, the latest first: a product's id, with :view, :cart or, by default, "
        ":purchase. May be repeated.",
    ),
]
Segments = Annotated[
    list[str] | None,
    typer.Option("--segment", metavar="NAME=VALUE", help="A group of the shopper's, as in age=25-34. May be repeated."),
]


@calls_service
def recommend(
    address: Address = ADDRESS,
    recent: Recent = None,
    user: Annotated[str, typer.Option(help="The shopper's id, whose stored profile is used.")] = "",
    remember: Annotated[bool, typer.Option("--remember", help="Add --recent to the stored profile of --user.")] = False,
    product: Annotated[str, typer.Option(help="Recommend beside this product.")] = "",
    relation: Annotated[
        Literal["similar", "bought-together"], typer.Option(help="What products have to do with --product.")
    ] = "similar",
    segment: Segments = None,
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
    diversity: options.DiversityStrength = 0.0,
    cap: options.Caps = None,
    explain: options.Explain = False,
    language: options.Language = "",
    country: options.Country = "",
    fields: options.Fields = None,
    timeout: options.Timeout = 5.0,
    as_json: options.Json = False,
) -> None:
    """Recommend products: for a shopper (--recent, --user), beside a product (--product), or what is popular."""
    from google.protobuf.json_format import MessageToDict

    from lifecycle.cli.recommend_request import add_subject
    from lifecycle.cli.search_request import enum_value, read_cap, read_facet, read_fields, read_sort_key
    from lifecycle.cli.show_recommendations import show_recommendations
    from lifecycle.client import connect
    from retrieval.wire.filters import filter_message
    from tandem.v1 import recommend_pb2

    shown = read_fields(fields or ())
    try:
        request = recommend_pb2.RecommendRequest(
            top_k=top_k,
            catalog=catalog,
            language=language,
            country=country,
            facets=[read_facet(text, multi_select) for text in facet or ()],
            sort=[read_sort_key(text) for text in sort or ()],
            total=enum_value("TOTAL_MODE", total or ""),
            page_token=page,
            explain=explain,
        )
        add_subject(request, recent or (), user, remember, product, relation, segment or ())
        if group is not None or variants:
            request.group_by.field, request.group_by.variants = group or options.DEFAULT_GROUP, variants
        if diversity or cap:
            request.diversity.strength = diversity
            request.diversity.caps.extend(read_cap(text) for text in cap or ())
        if shown:  # the table has titles and prices beside them
            request.product_mask.paths.extend(shown if as_json else ["title", "price", *shown])
    except UnicodeEncodeError:
        raise TandemError("an option is not UTF-8; check the terminal's encoding") from None
    if filter_ is not None:
        request.filter.CopyFrom(filter_message(parse_filter(filter_)))
    with connect(address, timeout) as client:
        answer = client.recommend(request)
    if as_json:
        print_json(MessageToDict(answer, preserving_proto_field_name=True))
    else:
        show_recommendations(console, answer, shown)
