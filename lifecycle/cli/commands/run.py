"""`tandem run`: a shop indexed, served and improved, in one command."""

from pathlib import Path
from typing import Annotated

import typer

from core.config import load_settings
from lifecycle.cli.options import ADDRESS, RELEASES, Address, Mapping, Releases
from lifecycle.cli.terminal import console
from lifecycle.triton_server import FOLDER
from retrieval.server.settings import ServeSettings


def run(
    releases: Releases = RELEASES,
    address: Address = ADDRESS,
    catalog: Annotated[Path | None, typer.Option(help="Your shop's feed; default: the sample shop.")] = None,
    mapping: Mapping = None,
    judgments: Annotated[
        Path | None, typer.Option(help="Judgments of your shop; without, models stay untuned.")
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the models: embedded, or triton with a server of its own.")] = (
        "embedded"
    ),
    triton_server: Annotated[Path, typer.Option(help="Folder of the Triton server.")] = FOLDER,
    prepare: Annotated[
        str | None, typer.Option(help="Shell command to run before training, such as one that installs torch.")
    ] = None,
) -> None:
    """Index, serve, and show five answers; then train beside the service, and swap in what is better.

    Steps that are done are not repeated.
    """
    from lifecycle.run import run_shop

    settings = load_settings(ServeSettings, None, {"releases": releases, "address": address, "engine": engine})
    run_shop(settings, catalog, mapping, judgments, console, triton_server, prepare)
