"""`tandem models`: the registered models, and which version is the champion."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.config import load_settings
from core.errors import TandemError
from lifecycle.cli.options import RELEASES, Config, ModelKind
from lifecycle.cli.terminal import console, print_line
from lifecycle.tracking.store import tracking_uri
from lifecycle.tracking.tracker import FOLDER, OFF, TrackingSettings

if TYPE_CHECKING:
    from lifecycle.tracking.registry import Registry


Track = Annotated[str | None, typer.Option(help="MLflow server's URL, or the folder that `tandem train` tracked in.")]

models = typer.Typer(invoke_without_command=True, add_completion=False)


@models.callback()
def list_models(context: typer.Context, track: Track = None, config: Config = None) -> None:
    """List the registered models, or promote one."""
    if context.invoked_subcommand is None:
        from lifecycle.cli.show import show_models

        show_models(console, _registry(track, config).versions())


@models.command()
def promote(
    kind: Annotated[ModelKind, typer.Option(help="Which model.")],
    version: Annotated[int, typer.Option(min=1, help="Its version in the registry.")],
    catalog: Annotated[str, typer.Option(help="The catalog that it was trained on.")] = "default",
    track: Track = None,
    config: Config = None,
) -> None:
    """Make a version the champion."""
    name = _registry(track, config).promote(catalog, kind.value, str(version))
    print_line(f"{name} version {version} is the champion")


def _registry(track: str | None, config: Path | None) -> "Registry":
    from lifecycle.tracking.registry import Registry

    uri = load_settings(TrackingSettings, config, {"tracking": {"uri": track} if track else None}).tracking.uri
    if uri == OFF:
        raise TandemError("tracking is off: give --track with the URL or folder that holds the models")
    location = uri or str(RELEASES / FOLDER)
    if "://" not in location and not Path(location).is_dir():
        raise TandemError(f"{location}: no such folder; give --track with the one that `tandem train` tracked in")
    return Registry(tracking_uri(location))
