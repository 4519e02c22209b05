"""`tandem suggest`: what a running service completes."""

from typing import Annotated

import typer

from core.errors import TandemError
from lifecycle.cli.connection import calls_service
from lifecycle.cli.options import ADDRESS, Address, duration
from lifecycle.cli.terminal import console, print_json


@calls_service
def suggest(
    prefix: Annotated[str, typer.Argument(help="What is typed so far; empty for the likeliest queries.")] = "",
    address: Address = ADDRESS,
    limit: Annotated[int, typer.Option(min=1, max=20, help="Suggestions to return.")] = 8,
    catalog: Annotated[str, typer.Option(help="Catalog; default: the only one served.")] = "",
    timeout: Annotated[
        float, typer.Option(callback=duration, help="Seconds for the connection, and again for the answer.")
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Complete a query through a running service."""
    from google.protobuf.json_format import MessageToDict

    from lifecycle.cli.show_suggestions import show_suggestions
    from lifecycle.client import connect
    from tandem.v1 import search_pb2

    try:
        request = search_pb2.SuggestRequest(prefix=prefix, limit=limit, catalog=catalog)
    except UnicodeEncodeError:
        raise TandemError("the prefix or the catalog is not UTF-8; check the terminal's encoding") from None
    with connect(address, timeout) as client:
        answer = client.suggest(request)
    if as_json:
        print_json(MessageToDict(answer, preserving_proto_field_name=True))
    else:
        show_suggestions(console, prefix, answer)
