"""What a server says once it serves."""

from rich.console import Console

from retrieval.server import Running


def announce(console: Console, running: Running) -> None:
    """Names each release in service, and how to query it."""
    for catalog, release in sorted(running.holder.loaded.items()):
        console.print(
            f"tandem: serving release {release.release_id} on {running.address}", highlight=False, soft_wrap=True
        )
        command = f'tandem search "…" --address {running.address}'
        if len(running.holder.loaded) > 1:
            command += f" --catalog {catalog}"
        console.print(f"  query it:  {command}", highlight=False, soft_wrap=True)
        call = f'grpcurl -plaintext -d \'{{"query": "…"}}\' {running.address} tandem.v1.SearchService/Search'
        console.print(f"  or:        {call}", highlight=False, soft_wrap=True)
