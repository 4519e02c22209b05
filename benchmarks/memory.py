"""Memory, time and disk of indexing and serving a large shop, as a fixed part and so much for a million products.

    python -m benchmarks.memory [--products 1000000] [--layers 1] [--folder SCRATCH]

The sample shop is made at a quarter of the products and at all of them. The index job and `tandem serve` run in
processes of their own, whose memory is read from outside: anonymous memory, and mapped files, which are page cache that
the system may take back. Both models are the bundled one cut to its first layers, untuned, since embedding a million
products with all six takes long: tokens, vectors and everything kept for a product are of the same size, only the model
itself is smaller.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import latencies, save, serving
from core.errors import ModelError, TandemError
from core.manifest import Manifest
from core.progress import Report
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from indexer.build import IndexSettings
from indexer.cleaning.mapping import load_mapping
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from lifecycle.cli.progress import Bars
from lifecycle.sample.shop import CATALOG, JUDGMENTS, MAPPING, write_sample
from tandem.client import SearchClient
from tandem.v1 import search_pb2

_EVERY = 0.02
_TIMEOUT = 10.0
_OPTIONS = IndexOptions(index=IndexSettings(exact_budget_ms=0))  # every kind is tried, however fast this machine scans

Sample = tuple[float, dict[str, float]]
Step = tuple[str, float, float]


def main() -> None:
    """Measures both sizes, prints the figures for a million products and saves all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=1, help="of the models, 1 to 6")
    parser.add_argument("--queries", type=int, default=200, help="sent to the service")
    parser.add_argument("--port", type=int, default=50062)
    parser.add_argument("--folder", type=Path, help="scratch, about 5 GB a million products; default: a temporary one")
    parser.add_argument("--name", default="memory", help="of the results file")
    options = parser.parse_args()
    parameters = {"products": options.products, "layers": options.layers, "queries": options.queries}
    parameters["load_average_before"] = round(os.getloadavg()[0], 2)
    with _scratch(options.folder) as folder:
        models = _models(folder / "models", options.layers)
        sizes = [options.products // 4, options.products]
        small, large = (_measure(folder / str(n), n, models, options) for n in sizes)
    growth = _growth(sizes, _flat(small), _flat(large))
    _print(growth)
    print(save(options.name, parameters, {"sizes": dict(zip(sizes, (small, large), strict=True)), "growth": growth}))


@contextmanager
def _scratch(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def _models(folder: Path, layers: int) -> ModelFolders:
    """Towers and a ranker of the bundled model's first layers."""
    from encoder.train import export as encoder  # loads torch: here, so that the index job's process does not
    from ranker.train import export as ranker

    model, pairs = encoder.load_encoder(None), ranker.load_ranker(None)
    for bert in (model[0].auto_model, pairs.model.base_model):
        bert.encoder.layer = bert.encoder.layer[:layers]
        bert.config.num_hidden_layers = layers
    encoder.export_model(model, f"first {layers} layers", folder / "encoder")
    with suppress(ModelError):  # the files are there; a head that never learnt gives no logits worth holding alike
        ranker.export_model(pairs, f"first {layers} layers", folder / "ranker")
    return ModelFolders(folder / "encoder", folder / "ranker")


def _measure(folder: Path, products: int, models: ModelFolders, options: argparse.Namespace) -> dict[str, Any]:
    """One size: everything in seconds, MiB resident and bytes on disk."""
    start = time.monotonic()
    write_sample(folder, products)
    made = time.monotonic() - start
    store = ReleaseStore(folder / "releases")
    shutil.rmtree(store.root, ignore_errors=True)  # else an earlier run's release is found current
    steps, peak, samples = _watched(_index, folder, models)
    [catalog] = store.catalogs()
    manifest = store.manifest(catalog, str(store.current(catalog)))
    with serving(store.root, f"127.0.0.1:{options.port}", environment={}) as pid:
        served = _served(pid, folder / JUDGMENTS, options)
    return {
        "sample_seconds": round(made, 1),
        "index_job": {"seconds": round(sum(end - begin for _, begin, end in steps), 1), "peak_rss_mib": peak},
        "steps": {name: _step(samples, begin, end) for name, begin, end in steps},
        "bytes": _bytes(manifest, store.folder(catalog) / "work"),
        "service": served,
        "index": manifest.snapshot.index,
        "validation": manifest.validation,
    }


def _watched(job: Callable[..., None], *arguments: Any) -> tuple[list[Step], float, list[Sample]]:
    """Runs the job in a fresh process; what it sends at its end, and its memory every 20 ms."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=job, args=(*arguments, sending))
    process.start()
    samples: list[Sample] = []
    while not receiving.poll(_EVERY):
        if not process.is_alive():
            raise TandemError("the index job failed; see above")
        samples.append((time.monotonic(), resident(process.pid)))
    steps, peak = receiving.recv()
    process.join()
    return steps, peak, samples


def _index(folder: Path, models: ModelFolders, sending: Connection) -> None:
    """The index job, in its own process; sends the steps' times and the greatest resident MiB."""
    clock, mapping = _Clock(), load_mapping(folder / MAPPING)
    index_feed(folder / CATALOG, mapping, models, _OPTIONS, ReleaseStore(folder / "releases"), clock)
    sending.send((clock.steps, resident(os.getpid())["peak"]))


class _Clock:
    """Bars that remember when each step began and ended, on the clock that all processes share."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._bars = Bars(Console(stderr=True))

    @contextmanager
    def step(self, name: str) -> Iterator[Report]:
        """See `core.progress.Steps`."""
        start = time.monotonic()
        with self._bars.step(name) as report:
            yield report
        self.steps.append((name, start, time.monotonic()))


def resident(pid: int | None) -> dict[str, float]:
    """MiB now: anonymous, of files, and the greatest of both together so far; zeros once the process is gone."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    names = {"anon": "RssAnon", "file": "RssFile", "peak": "VmHWM"}
    return {short: round(int(values.get(name, "0").split()[0]) / 1024, 1) for short, name in names.items()}


def _step(samples: list[Sample], begin: float, end: float) -> dict[str, float]:
    within = [memory for at, memory in samples if begin <= at <= end]
    peaks = {f"{kind}_mib": max((memory[kind] for memory in within), default=0.0) for kind in ("anon", "file")}
    return {"seconds": round(end - begin, 2), **peaks}


def _bytes(manifest: Manifest, work: Path) -> dict[str, int]:
    """On disk: each file of the release, and the embeddings kept beside it for the next run."""
    cached = sum(path.stat().st_size for path in (work / "embeddings").rglob("*") if path.is_file())
    return {name: entry.size for name, entry in manifest.files.items()} | {"kept embeddings": cached}


def _served(pid: int, judgments: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Memory of the service once warm and after queries, and how long these took."""
    warm = resident(pid)
    texts = load_judgments(judgments)["query"].unique().to_pylist()[: options.queries]
    times = []
    with SearchClient(f"127.0.0.1:{options.port}", _TIMEOUT) as client:
        for text in texts:
            start = time.monotonic()
            client.search(search_pb2.SearchRequest(query=text, top_k=10))
            times.append(time.monotonic() - start)
    return {"warm_mib": warm, "after_queries_mib": resident(pid), **latencies(times)}


def _flat(measured: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The figures that grow with products, by their path."""
    flat: dict[str, float] = {}
    for name, value in measured.items():
        if name in ("index", "validation") or name.endswith("_ms"):
            continue
        flat |= _flat(value, f"{prefix}{name}: ") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _growth(sizes: list[int], small: dict[str, float], large: dict[str, float]) -> dict[str, dict[str, float]]:
    """For each figure the slope between the sizes, for a million products, and what is left at none."""
    slopes = {name: (large[name] - small[name]) / (sizes[1] - sizes[0]) for name in large if name in small}
    return {
        name: {"per_million": round(slope * 1e6, 1), "fixed": round(large[name] - slope * sizes[1], 1)}
        for name, slope in slopes.items()
    }


def _print(growth: dict[str, dict[str, float]]) -> None:
    table = Table("", "a million products", "fixed")
    for name, row in growth.items():
        table.add_row(name, f"{row['per_million']:,}", f"{row['fixed']:,}")
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
