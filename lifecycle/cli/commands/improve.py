"""`tandem improve`: trains on a shop's judgments, and publishes a better release."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from core.config import load_settings
from core.errors import TandemError
from core.releases import ReleaseStore
from lifecycle.cli.options import RELEASES, ChangeLogSetting, Feed, Judgments, Mapping, Releases, TrackingUri
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_line


def improve(
    catalog: Feed,
    judgments: Judgments,
    mapping: Mapping = None,
    releases: Releases = RELEASES,
    output: Annotated[Path | None, typer.Option(help="Folder for the models; default: among the releases.")] = None,
    recipe: Annotated[str, typer.Option(help="The training: sample, home_depot or general.")] = "sample",
    track: TrackingUri = None,
    change_log: ChangeLogSetting = "",
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
) -> None:
    """Train by a recipe, and publish the result unless it ranks worse than the release in service."""
    from lifecycle.cli.show_tour import show_improvement
    from lifecycle.improve import end_with, improve
    from lifecycle.improvement import ShopFiles, trained_folder
    from lifecycle.tracking.tracker import TrackingSettings, open_tracker

    if attached:
        end_with(sys.stdin.fileno())
    shop = ShopFiles(catalog, mapping, judgments)
    for path in shop.files:
        if not path.is_file():
            raise TandemError(f"{path}: no such file")
    store = ReleaseStore(releases)
    output = output or trained_folder(shop, store)
    settings = load_settings(TrackingSettings, None, {"tracking": {"uri": track} if track else None})
    tracker = open_tracker(settings.tracking.uri, output, print_line)
    improvement = improve(shop, store, output, recipe, Bars(console), tracker, print_line, change_log)
    if not attached:
        show_improvement(console, improvement)
