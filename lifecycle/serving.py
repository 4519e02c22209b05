"""What a server says once it serves."""

import json

from rich.console import Console

from retrieval.server import Running


def announce(console: Console, running: Running) -> None:
    """Names each release in service, and how to query it."""
    for catalog, release in sorted(running.holder.loaded.items()):
        console.print(
            f"tandem: serving release {release.release_id} on {running.address}", highlight=False, soft_wrap=True
        )
        several = len(running.holder.loaded) > 1  # else the catalog need not be named
        command = f'tandem search "…" --address {running.address}' + (f" --catalog {catalog}" if several else "")
        console.print(f"  query it:  {command}", highlight=False, soft_wrap=True)
        request = json.dumps({"query": "…"} | ({"catalog": catalog} if several else {}), ensure_ascii=False)
        call = f"grpcurl -plaintext -d '{request}' {running.address} tandem.v1.SearchService/Search"
        console.print(f"  or:        {call}", highlight=False, soft_wrap=True)
