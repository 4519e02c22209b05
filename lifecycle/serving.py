"""Serves in one process or in several, and prints how to query the service."""

import asyncio
import json
import os
from collections.abc import Callable

from rich.console import Console

from core.address import UNIX
from core.logs import configure_logging
from retrieval.server.exposure import check_exposure
from retrieval.server.settings import ServeSettings
from text.masking_on_demand import mask_if_needed

Ready = Callable[[str, dict[str, str]], None]
"""Called once calls are accepted, with the address and the release of each catalog."""


def run_service(settings: ServeSettings, ready: Ready) -> None:
    """Serves until SIGTERM or SIGINT, then drains. Raises TandemError.

    Of several processes this one supervises, and never loads gRPC or a model.
    """
    # Requests share the cores already: a product of small matrices that wakes threads of its own takes twice the time.
    check_exposure(settings)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if settings.log_format != "text":  # which the command has set up already
        configure_logging(settings.log_format, mask=mask_if_needed)
    if settings.processes > 1:
        from retrieval.processes.supervisor import supervise

        asyncio.run(supervise(settings, ready))
        return
    from retrieval.server.main import RunningServer, serve

    def served(server: RunningServer) -> None:
        ready(server.address, {catalog: release.release_id for catalog, release in server.manager.loaded.items()})

    asyncio.run(serve(settings, served))


def announce(console: Console, settings: ServeSettings, address: str, releases: dict[str, str]) -> None:
    """Names each release in service, how to query it, and, of several processes, what each of them has."""
    for catalog, release in sorted(releases.items()):
        console.print(f"tandem: serving release {release} on {address}", highlight=False, soft_wrap=True)
        several = len(releases) > 1  # else the catalog need not be named
        command = f'tandem search "…" --address {address}' + (f" --catalog {catalog}" if several else "")
        console.print(f"  query it:  {command}", highlight=False, soft_wrap=True)
        request = json.dumps({"query": "…"} | ({"catalog": catalog} if several else {}), ensure_ascii=False)
        target = f"-unix {address.removeprefix(UNIX)}" if address.startswith(UNIX) else address
        call = f"grpcurl -plaintext -d '{request}' {target} tandem.v1.SearchService/Search"
        console.print(f"  or:        {call}", highlight=False, soft_wrap=True)
    if settings.processes > 1:
        console.print(f"  processes: {_describe_processes(settings)}", highlight=False, soft_wrap=True)


def _describe_processes(settings: ServeSettings) -> str:
    share = settings.share(0)
    models = settings.engine == "embedded" or settings.fallback == "embedded"
    threads = f"each with {settings.lanes_each} lane(s) for its models and" if models else "each with"
    return f"{settings.processes}, {threads} up to {share.places} calls in flight"
