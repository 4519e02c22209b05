"""`tandem explain`: why a query has its hits, as tables, as JSON, or as a page."""

from pathlib import Path
from typing import Annotated

import typer

from core.durable import replace_text
from core.errors import TandemError
from core.plan import MAX_TOP_K
from lifecycle.cli.connection import calls_service
from lifecycle.cli.options import ADDRESS, Address, duration
from lifecycle.cli.terminal import console, print_json, print_line


@calls_service
def explain(
    query: Annotated[str, typer.Argument(help="The shopper's words.")],
    address: Address = ADDRESS,
    top_k: Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Hits to return.")] = 10,
    words: Annotated[int, typer.Option(min=0, max=10, help="First hits whose words are explained.")] = 5,
    catalog: Annotated[str, typer.Option(help="Catalog; default: the only one served.")] = "",
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Which products may be returned, as of `tandem search`.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(callback=duration, help="Seconds for the connection, and again for the search.")
    ] = 20.0,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Explain the answer to a query: stages, features, words, rules, and what moved a hit."""
    from google.protobuf.json_format import MessageToDict

    from core.filter_text import parse_filter
    from lifecycle.cli.explain_page import explain_page
    from lifecycle.cli.show_explanation import show_explanation
    from lifecycle.client import connect
    from retrieval.wire.filters import filter_message
    from tandem.v1 import search_pb2

    try:
        request = search_pb2.SearchRequest(
            query=query, top_k=top_k, catalog=catalog, explain=True, explain_words=min(words, top_k)
        )
    except UnicodeEncodeError:
        raise TandemError("the query or the catalog is not UTF-8; check the terminal's encoding") from None
    if filter_ is not None:
        request.filter.CopyFrom(filter_message(parse_filter(filter_)))
    with connect(address, timeout) as client:
        answer = client.search(request)
    if html is not None:
        replace_text(html, explain_page(query, answer))
        print_line(f"wrote {html}")
    if as_json:
        print_json(MessageToDict(answer, preserving_proto_field_name=True))
    elif html is None:
        show_explanation(console, query, answer)
