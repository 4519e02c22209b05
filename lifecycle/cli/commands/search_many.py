"""`tandem search-many`: a file of queries to a running service."""

from pathlib import Path
from typing import Annotated

import typer

from core.plan import MAX_TOP_K
from lifecycle.cli.connection import calls_service
from lifecycle.cli.options import ADDRESS, Address, duration
from lifecycle.cli.terminal import print_line


@calls_service
def search_many(
    searches: Annotated[Path, typer.Argument(help="JSONL: on each line a query in quotes, or a request as an object.")],
    output: Annotated[Path, typer.Option(help="JSONL of the outcomes; a run that was cut off goes on where it ends.")],
    address: Address = ADDRESS,
    top_k: Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Hits to return, for bare queries.")] = 10,
    catalog: Annotated[str, typer.Option(help="Catalog for bare queries; default: the only one served.")] = "",
    timeout: Annotated[float, typer.Option(callback=duration, help="Seconds for the connection.")] = 5.0,
) -> None:
    """Search for many queries, at lower priority than `search`."""
    from lifecycle.batches import answer_file
    from lifecycle.client import connect

    with connect(address, timeout) as client:
        done, errors = answer_file(client, searches, output, catalog, top_k)
    before = f", {done:,} of them before" if done else ""
    with output.open("rb") as lines:
        count = sum(1 for _ in lines)
    print_line(f"{count:,} searches answered{before}; {errors:,} with an error, in {output}")
