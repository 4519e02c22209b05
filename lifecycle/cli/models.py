"""`tandem models`: what trainings have registered, and which version is the champion."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.config import load_settings
from core.errors import TandemError
from lifecycle.cli.terminal import console, tell
from lifecycle.tracking.store import tracking_uri
from lifecycle.tracking.tracker import FOLDER, OFF, TrackingSettings

if TYPE_CHECKING:
    from lifecycle.tracking.registry import Registry


class Trained(StrEnum):
    """The models that can be fine-tuned."""

    ENCODER = "encoder"
    RANKER = "ranker"


Config = Annotated[Path | None, typer.Option(help="TOML file of settings.")]
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
    kind: Annotated[Trained, typer.Option(help="Which model.")],
    version: Annotated[int, typer.Option(min=1, help="Its version in the registry.")],
    catalog: Annotated[str, typer.Option(help="The catalog that it was trained on.")] = "default",
    track: Track = None,
    config: Config = None,
) -> None:
    """Make a version the champion."""
    name = _registry(track, config).promote(catalog, kind.value, str(version))
    tell(f"{name} version {version} is the champion")


def _registry(track: str | None, config: Path | None) -> "Registry":
    from lifecycle.tracking.registry import Registry

    given = load_settings(TrackingSettings, config, {"tracking": {"uri": track} if track else None}).tracking.uri
    if given == OFF:
        raise TandemError("tracking is off: give --track with the URL or folder that holds the models")
    place = given or str(Path("releases") / FOLDER)
    if "://" not in place and not Path(place).is_dir():
        raise TandemError(f"{place}: no such folder; give --track with the one that `tandem train` tracked in")
    return Registry(tracking_uri(place))
