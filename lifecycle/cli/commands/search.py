"""`tandem search`: one query to a running service."""

from typing import Annotated, Literal

import typer

from core.errors import TandemError
from core.filter_text import parse_filter
from core.plan import MAX_TOP_K
from lifecycle.cli.options import ADDRESS, Address, duration
from lifecycle.cli.terminal import console, print_json


def search(
    query: Annotated[str, typer.Argument(help="The shopper's words.")],
    address: Address = ADDRESS,
    top_k: Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Hits to return.")] = 10,
    catalog: Annotated[str, typer.Option(help="Catalog; default: the only one served.")] = "",
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help="Which products may be returned, as in: price < 50 AND brand = Bosch."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(callback=duration, help="Seconds for the connection, and again for the search.")
    ] = 5.0,
    understanding: Annotated[
        Literal["soft", "hard", "off"],
        typer.Option(help="What the query states moves products (soft), is a condition (hard), or is ignored (off)."),
    ] = "soft",
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Search through a running service."""
    from google.protobuf.json_format import MessageToDict

    from lifecycle.cli.show import show_answer
    from lifecycle.client import connect
    from retrieval.wire.filters import filter_message
    from tandem.v1 import search_pb2

    try:
        mode = "UNSPECIFIED" if understanding == "soft" else understanding.upper()
        request = search_pb2.SearchRequest(
            query=query, top_k=top_k, catalog=catalog, understanding=f"UNDERSTANDING_MODE_{mode}"
        )
    except UnicodeEncodeError:
        raise TandemError("the query or the catalog is not UTF-8; check the terminal's encoding") from None
    if filter_ is not None:
        request.filter.CopyFrom(filter_message(parse_filter(filter_)))
    with connect(address, timeout) as client:
        answer = client.search(request)
    if as_json:
        print_json(MessageToDict(answer, preserving_proto_field_name=True))
    else:
        show_answer(console, query, answer)
