"""Runs a whole shop: a release, the service, answers; then training beside it, and the answers again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from core.config import load_settings
from core.errors import FeedError
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from lifecycle.background import Background
from lifecycle.cli.progress import Bars
from lifecycle.cli.show import show_release
from lifecycle.feeds import read_mapping
from lifecycle.improvement import ShopFiles, trained_folder
from lifecycle.models import resolve_models
from lifecycle.serving import announce, run_service
from lifecycle.tour import Tour, Training
from lifecycle.tracking.tracker import FOLDER, TrackingSettings
from lifecycle.triton_server import install, triton_server
from retrieval.release.engines import repository_of
from retrieval.server.settings import ServeSettings

_LOG = "training.log"


def run_shop(
    settings: ServeSettings,
    catalog: Path | None,
    mapping: Path | None,
    judgments: Path | None,
    console: Console,
    triton: Path,
    prepare: str | None = None,
) -> None:
    """Serves until Ctrl-C or SIGTERM: the models there are, or untuned ones, and trained ones once they are better.

    `triton` is the folder of a Triton server, which is installed and run where the settings ask for that engine.
    `prepare` is a shell command to run before training, such as one that installs what it needs. Raises TandemError.
    """
    releases = settings.releases
    if catalog is None and (mapping or judgments):
        raise FeedError("a mapping or judgments are of a shop of your own: give --catalog too")
    shop = ShopFiles(catalog, mapping, judgments) if catalog else _sample(releases / "sample", console)
    _check(shop)
    store = ReleaseStore(releases)
    chosen = read_mapping(shop.mapping)
    name = chosen.catalog.name
    with Bars(console).step("models to begin with"):
        models = resolve_models(None, None, store, name)
    outcome = index_feed(
        shop.catalog, chosen, models, IndexOptions(change_log=settings.change_log), store, Bars(console)
    )
    show_release(console, outcome.manifest, outcome.embedded)
    background = Background(store.root / _LOG)
    tour = Tour(console, shop, store, name, _training(shop, store, prepare), background)
    try:
        with _engine(settings, triton, console) as settings:

            def ready(address: str, serving: dict[str, str]) -> None:
                def announce_release(release: str) -> None:
                    announce(console, settings, address, serving | {name: release})

                tour.start(address, announce_release)

            run_service(settings, ready)
    finally:
        tour.stop()
    console.print("tandem: drained, good-bye", highlight=False)


def _check(shop: ShopFiles) -> None:
    """Checks the files before anything is made of them. Raises FeedError."""
    for path in shop.files:
        if not path.is_file():
            raise FeedError(f"{path}: no such file")
    if shop.judgments is not None:
        load_judgments(shop.judgments)


def _training(shop: ShopFiles, store: ReleaseStore, prepare: str | None) -> Training | None:
    """In processes of their own, so that the one that serves never loads torch; None without judgments."""
    if shop.judgments is None:
        return None
    folder = trained_folder(shop, store)
    command: list[str | Path] = [sys.executable, "-m", "lifecycle.cli", "improve", "--attached"]
    command += ["--releases", store.root, "--catalog", shop.catalog, "--judgments", shop.judgments, "--output", folder]
    command += ["--mapping", shop.mapping] if shop.mapping else []
    if load_settings(TrackingSettings, None, {}).tracking.uri is None:
        command += ["--track", store.root / FOLDER]  # one place for every state of the shop
    first = [["sh", "-c", prepare]] if prepare else []
    return Training([*first, [str(part) for part in command]], folder)


@contextmanager
def _engine(settings: ServeSettings, folder: Path, console: Console) -> Iterator[ServeSettings]:
    """The settings to serve by, with a Triton server beside where they ask for that engine."""
    if settings.engine != "triton":
        yield settings
        return
    with Bars(console).step("install the Triton server"):
        install(folder)
    with triton_server(folder, repository_of(settings)) as server:
        console.print(f"Triton answers on {server.address}", highlight=False)
        yield settings.model_copy(update={"triton_url": server.address})


def _sample(folder: Path, console: Console) -> ShopFiles:
    from lifecycle.sample.shop import write_sample

    shop = ShopFiles(folder / "catalog.jsonl.gz", folder / "mapping.toml", folder / "judgments.parquet")
    stamp = folder / f".made-by-{version('tandem-retrieval')}"
    if not stamp.is_file():
        with Bars(console).step("make the sample shop"):
            report = write_sample(folder)
        stamp.touch()
        console.print(report.line(), highlight=False, markup=False, soft_wrap=True)
    return shop
