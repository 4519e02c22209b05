"""`tandem adapt`: models for a shop that nobody judged, from its catalog alone."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from core.config import load_settings, table
from lifecycle.cli.options import Config, Feed, Mapping, TrackingUri, finite
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_line
from lifecycle.tracking.tracker import TrackingSettings, open_tracker


class AdaptFile(TrackingSettings):
    """The `--config` file: `[tracking]`, and `[adapt]`, settings of the adaptation."""

    adapt: dict[str, Any] = Field(default={}, description="Settings of the adaptation.")


def adapt(
    catalog: Feed,
    output: Annotated[Path, typer.Option(help="Folder for the models.")],
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of models, as a recipe leaves them; default: bundled MiniLM.")
    ] = None,
    mapping: Mapping = None,
    queries: Annotated[
        Path | None, typer.Option(help="Text file of past queries, one a line, its count behind a tab; default: none.")
    ] = None,
    voter: Annotated[
        list[Path] | None, typer.Option(help="Folder of further towers whose opinion counts; may be given repeatedly.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(callback=finite, min=0.1, help="Minutes that it may take. Default: 15.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed makes the same queries.")] = None,
    track: TrackingUri = None,
    config: Config = None,
) -> None:
    """Adapt models to a shop without judgments: on queries made of its catalog, and of a query log if there is one.

    Where the adapted models do not surely rank better, the output holds the models to start from, unchanged.
    """
    from lifecycle.adapt.inputs import AdaptInputs
    from lifecycle.adapt.run import adapt_models
    from lifecycle.adapt.settings import AdaptSettings
    from lifecycle.adapt.shop import ShopFiles
    from lifecycle.cli.show_adapt import show_adapt

    settings = load_settings(AdaptFile, config, {"tracking": {"uri": track} if track else None})
    options = {"minutes": minutes, "seed": seed}
    with table("adapt"):
        chosen = AdaptSettings(**settings.adapt | {name: value for name, value in options.items() if value is not None})
    tracker = open_tracker(settings.tracking.uri, output, print_line)
    inputs = AdaptInputs(ShopFiles(catalog, mapping, queries), start, tuple(voter or ()))
    report = adapt_models(inputs, output, chosen, Bars(console), tracker, print_line)
    show_adapt(console, report, output)
