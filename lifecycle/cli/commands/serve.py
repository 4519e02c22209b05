"""`tandem serve`: the service."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from core.config import load_settings
from lifecycle.cli.terminal import console
from retrieval.server.settings import ServeSettings


def serve(
    releases: Annotated[Path | None, typer.Option(help="Folder of the releases.")] = None,
    address: Annotated[str | None, typer.Option(help="Host and port to listen on.")] = None,
    processes: Annotated[int | None, typer.Option(help="Serving processes that share the address.")] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Worker threads of each process's models; default: its share of the cores.")
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Listen where other machines reach it without TLS or keys: all may do all."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Requests in flight; more are refused at once.")] = None,
    default_deadline: Annotated[
        float | None, typer.Option(help="Deadline of calls that have none, in seconds.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="What runs the models: embedded or triton.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the embedded engine runs: cpu, cuda or auto.")] = None,
    triton_url: Annotated[str | None, typer.Option(help="Host and port of Triton's gRPC service.")] = None,
    metrics_address: Annotated[
        str | None, typer.Option(help="Host and port where Prometheus finds metrics; default: nowhere.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="Lines of the log: text or json.")] = None,
    triton_repository: Annotated[
        Path | None, typer.Option(help="Model repository, the folder that Triton reads.")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(help="What answers while Triton does not: lexical or embedded.")
    ] = None,
) -> None:
    """Serve the releases over gRPC until Ctrl-C or SIGTERM."""
    from lifecycle.serving import announce, run_service

    options = {
        "releases": releases,
        "address": address,
        "processes": processes,
        "lanes": lanes,
        "max_in_flight": max_in_flight,
        "default_deadline": default_deadline,
        "engine": engine,
        "device": device,
        "triton_url": triton_url,
        "triton_repository": triton_repository,
        "metrics_address": metrics_address,
        "log_format": log_format,
        "fallback": fallback,
        "insecure": insecure,
    }
    settings = load_settings(ServeSettings, config, options)
    run_service(settings, partial(announce, console, settings))
