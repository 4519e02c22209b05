"""The whole way in one command: models, release, service, five answers. What is done already is not done again."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from core.columns import Columns
from core.config import load_settings
from core.digest import file_digest, value_digest
from core.errors import FeedError, TandemError
from core.judgments import load_judgments
from core.releases import ReleaseStore
from engine.training import REPORT_FILE
from indexer.job import Models, Options, index_feed
from lifecycle.feeds import mapping_of
from lifecycle.models import resolve_models, with_lineage
from lifecycle.progress import Bars
from lifecycle.serving import announce, run_service
from lifecycle.show import show_answer, show_final, show_release
from lifecycle.tracking import FOLDER, TrackingSettings
from lifecycle.triton_server import install, triton_server
from ranker.final import SPEC_FILE
from retrieval.client import SearchClient
from retrieval.engines import repository_of
from retrieval.settings import ServeSettings
from tandem.v1 import search_pb2

_SHOWN = 5
_TOP = 5
_WORDS = 4
_DEMO_DEADLINE = 5.0
RECIPE = "sample"
_VALID = "valid"


@dataclass(frozen=True, slots=True)
class Shop:
    """The files of a shop. Without judgments nothing can be learned from it."""

    catalog: Path
    mapping: Path | None
    judgments: Path | None


def run_shop(
    settings: ServeSettings,
    catalog: Path | None,
    mapping: Path | None,
    judgments: Path | None,
    console: Console,
    triton: Path,
) -> None:
    """Makes what is missing, then serves until Ctrl-C or SIGTERM. Raises TandemError.

    `triton` is the folder of a Triton server, which is installed and run where the settings ask for that engine.
    """
    releases = settings.releases
    if catalog is None and (mapping or judgments):
        raise FeedError("a mapping or judgments are of a shop of your own: give --catalog too")
    shop = Shop(catalog, mapping, judgments) if catalog else _sample(releases / "sample", console)
    for path in (shop.catalog, shop.mapping, shop.judgments):
        if path is not None and not path.is_file():
            raise FeedError(f"{path}: no such file")
    store = ReleaseStore(releases)
    models = _models(shop, store, console)
    outcome = index_feed(shop.catalog, mapping_of(shop.mapping), models, Options(), store, Bars(console))
    if (final := _final(shop, store, models, outcome.manifest.catalog, console)) != models.final:
        models = replace(models, final=final)
        outcome = index_feed(shop.catalog, mapping_of(shop.mapping), models, Options(), store, Bars(console))
    show_release(console, outcome.manifest, outcome.embedded)
    queries = _queries(shop, store, outcome.manifest.catalog)
    with _engine(settings, triton, console) as settings:
        run_service(settings, partial(_show, console, settings, outcome.manifest.catalog, queries))
    console.print("tandem: drained, good-bye", highlight=False)


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


def _sample(folder: Path, console: Console) -> Shop:
    from lifecycle.sample.shop import write_sample

    shop = Shop(folder / "catalog.jsonl.gz", folder / "mapping.toml", folder / "judgments.parquet")
    stamp = folder / f".made-by-{version('tandem-retrieval')}"
    if not stamp.is_file():
        with Bars(console).step("make the sample shop"):
            report = write_sample(folder)
        stamp.touch()
        console.print(report.line(), highlight=False, markup=False, soft_wrap=True)
    return shop


def _models(shop: Shop, store: ReleaseStore, console: Console) -> Models:
    """Models trained on the shop's judgments, or, without any, those in service or untuned ones."""
    if shop.judgments is None:
        console.print("no judgments given: the towers stay as they are, and nothing is reranked unless a ranker serves")
        return resolve_models(None, None, store, mapping_of(shop.mapping).catalog.name)
    files = [file_digest(path) for path in (shop.catalog, shop.mapping, shop.judgments) if path]
    folder = store.root / "trained" / value_digest([files, version("tandem-retrieval")])[:12]
    encoder, ranker = folder / "encoder", folder / "ranker"
    if not all((model / REPORT_FILE).is_file() for model in (encoder, ranker)):
        _train(shop, folder, store.root / FOLDER, console)
    final = folder / "final"
    return with_lineage(encoder, ranker, final=final if (final / SPEC_FILE).is_file() else None)


def _final(shop: Shop, store: ReleaseStore, models: Models, catalog: str, console: Console) -> Path | None:
    """The final score, learned of the release in service unless it is there; None without judgments, or too few."""
    if shop.judgments is None or models.final is not None:
        return models.final
    from lifecycle.final import train_final
    from ranker.train.final import FinalTraining

    output = models.encoder.parent / "final"
    try:
        outcome = train_final(store, catalog, shop.judgments, _VALID, output, FinalTraining(), Bars(console))
    except FeedError as error:
        console.print(f"no final score: {error}", highlight=False, markup=False)
        return None
    show_final(console, outcome, output)
    return output


def _train(shop: Shop, output: Path, tracking: Path, console: Console) -> None:
    """Trains in a process of its own, so that the one that serves never loads torch."""
    assert shop.judgments is not None, "without judgments nothing is trained"
    console.print(f"fine-tune both models on {shop.judgments}", highlight=False)
    command: list[str | Path] = [sys.executable, "-m", "lifecycle.cli", "train", "--recipe", RECIPE]
    command += ["--catalog", shop.catalog, "--judgments", shop.judgments, "--output", output]
    command += ["--mapping", shop.mapping] if shop.mapping else []
    if load_settings(TrackingSettings, None, {}).tracking.uri is None:
        command += ["--track", tracking]  # one place for every state of the shop
    result = subprocess.run([str(part) for part in command], check=False)
    if result.returncode:
        raise TandemError(f"training ended with status {result.returncode}; what it printed says why")


def _queries(shop: Shop, store: ReleaseStore, catalog: str) -> list[str]:
    """Five queries: of the judgments' test split, spread over it, or words of titles."""
    if shop.judgments is not None:
        table = load_judgments(shop.judgments)
        rows = zip(table["query"].to_pylist(), table["split"].to_pylist(), strict=True)
        texts = list(dict.fromkeys(query for query, split in rows if split == "test"))
        return [texts[place] for place in _spread(len(texts))]
    current = store.current(catalog)
    assert current is not None
    columns = Columns(store.path(catalog, current) / "products.arrow")
    titles = [columns.row(row, ["title"])["title"] for row in _spread(len(columns))]
    return [" ".join(title.split()[:_WORDS]) for title in titles]


def _spread(count: int) -> list[int]:
    """Up to five places of so many, evenly apart."""
    shown = min(_SHOWN, count)
    return [place * count // shown for place in range(shown)]


def _show(
    console: Console, settings: ServeSettings, catalog: str, queries: list[str], address: str, releases: dict[str, str]
) -> None:
    """Asks through a real client, on a thread of its own since the service runs on this one."""
    told = partial(announce, console, settings, address, releases)
    threading.Thread(target=_ask, args=(console, address, catalog, queries, told), daemon=True).start()


def _ask(console: Console, address: str, catalog: str, queries: list[str], told: Callable[[], None]) -> None:
    try:
        with SearchClient(address, _DEMO_DEADLINE) as client:
            client.wait()
            for query in queries:
                start = time.monotonic()
                answer = client.search(search_pb2.SearchRequest(query=query, top_k=_TOP, catalog=catalog))
                show_answer(console, query, answer)
                took = (time.monotonic() - start) * 1000
                console.print(f"whole call, as the client saw it: {took:.1f} ms\n", style="dim", highlight=False)
        told()
    except TandemError as error:
        print(f"tandem: {error}", file=sys.stderr)
        os._exit(1)
