"""Exact and approximate retrieval over a large shop, in one run: p50, recall, memory and what building took.

    python -m benchmarks.million --encoder FOLDER [--products 1000000] [--folder SCRATCH]

The sample shop's products are cleaned and embedded by the index job's own code; SCRATCH keeps what is embedded, so that
a second run embeds nothing. The index is chosen on queries of the sample's training templates, and measured on others,
of its test templates: single queries on one thread, exact search and the chosen index in turn. Recall counts by score:
a product as good as the hundredth is equally correct.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common import latencies, save
from benchmarks.memory import resident
from catalog.table import ProductTable
from core.errors import TandemError
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel
from engine.vector.index import VectorIndex, use_one_thread
from indexer.build import IndexReport, IndexSettings, build_index
from indexer.cleaning.mapping import load_mapping
from indexer.embed import embed_products
from indexer.index_kinds import EXACT
from indexer.products import clean_feed
from lifecycle.cli.progress import Bars
from lifecycle.sample.judgments import SampleCatalog
from lifecycle.sample.products import iter_products
from lifecycle.sample.queries import make_queries
from lifecycle.sample.shop import CATALOG, MAPPING, write_sample

_K = 100
_TIE = 1e-6
_SHELF = 100_000  # products that queries are made from
_SEED = 7


def main() -> None:
    """Builds both indexes, sends both the same queries, prints the figures and saves them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="folder that `tandem train encoder` left")
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000, help="measured on, and as many to choose by")
    parser.add_argument("--target", type=float, default=0.98, help="recall@100 that the index has to reach")
    parser.add_argument("--folder", type=Path, help="scratch, about 5 GB a million products; default: a temporary one")
    parser.add_argument("--name", default="million", help="of the results file")
    options = parser.parse_args()
    parameters = {"products": options.products, "queries": options.queries, "recall_target": options.target}
    parameters["load_average_before"] = round(os.getloadavg()[0], 2)
    tower = BiEncoder.open(options.encoder)
    with _scratch(options.folder) as scratch:
        folder = scratch / f"{options.products}-{tower.digest[:12]}"
        vectors, embedded = _vectors(folder, options.products, tower)
        tuning_queries, test_queries = _queries(options, tower)
        results = _compare(folder, vectors, tuning_queries, test_queries, options.target) | embedded
    line = (
        "{kind}: p50 {p50} ms, {share} of exact search's {exact} ms; recall@100 {recall}; {mib} MiB mapped, {own} own"
    )
    print(line.format(**_summarize(results)))
    print(save(options.name, parameters, results))


@contextmanager
def _scratch(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _vectors(folder: Path, products: int, tower: BiEncoder) -> tuple[NDArray[np.float16], dict[str, Any]]:
    """Unit vectors of the shop's products, shape (n, d), mapped, and how many were embedded now, in what time."""
    bars = Bars(Console(stderr=True))
    if not (folder / MAPPING).is_file() or not (folder / CATALOG).is_file():
        write_sample(folder, products, _SEED)
    with bars.step("clean") as report:
        cleaned = clean_feed(folder / CATALOG, load_mapping(folder / MAPPING), folder, report, 0.0)
    start = time.monotonic()
    with bars.step("embed") as report:
        vectors, embedded = embed_products(ProductTable(cleaned.columns), tower, folder, report)
    return vectors, {"embedded": embedded, "embed_seconds": round(time.monotonic() - start, 1)}


def _queries(options: argparse.Namespace, tower: BiEncoder) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of queries to choose an index by, and of others, of other templates, to measure it on."""
    shelf = SampleCatalog(iter_products(min(options.products, _SHELF), _SEED))
    made = make_queries(shelf, {"train": options.queries, "test": options.queries}, _SEED)
    model = OnnxModel(tower.model_path("query"))
    train, test = ([query.text for query in made if query.split == split] for split in ("train", "test"))
    return embed_all(model, tower.tokenize_queries(train)), embed_all(model, tower.tokenize_queries(test))


def _compare(
    folder: Path,
    vectors: NDArray[np.float16],
    tuning_queries: NDArray[np.float32],
    test_queries: NDArray[np.float32],
    target: float,
) -> dict[str, Any]:
    bars = Bars(Console(stderr=True))
    files = {"exact": folder / "exact.faiss", "chosen": folder / "chosen.faiss"}
    settings = {
        "exact": IndexSettings(kind=EXACT),
        "chosen": IndexSettings(exact_budget_ms=0, recall_target=target),
    }
    reports: dict[str, IndexReport] = {}
    for name, file in files.items():
        with bars.step(f"build: {name}") as report:
            reports[name] = build_index(vectors, tuning_queries, file, settings[name], report)
    index_reports = {name: report.model_dump() for name, report in reports.items()}
    memory = {
        name: _run_in_new_process(_memory, file, index_reports[name], test_queries) for name, file in files.items()
    }
    seconds, recall = _run_queries(
        {name: VectorIndex.open(file, index_reports[name]) for name, file in files.items()}, vectors, test_queries
    )
    times = {name: latencies(values) for name, values in seconds.items()}
    return {
        "index": index_reports["chosen"],
        "latency": times,
        "p50_share_of_exact": round(float(np.median(seconds["chosen"]) / np.median(seconds["exact"])), 4),
        "recall_at_100": recall,
        "memory_mib": memory,
    }


def _run_queries(
    indexes: dict[str, VectorIndex], vectors: NDArray[np.float16], test_queries: NDArray[np.float32]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each query by index, and the chosen one's recall: its mean, and that of the worst twentieth."""
    use_one_thread()
    seconds: dict[str, list[float]] = {name: [] for name in indexes}
    shares = []
    for index in indexes.values():
        index.search(test_queries[:32], _K)
    for query in test_queries:
        results = {}
        for name, index in indexes.items():
            start = time.perf_counter()
            results[name] = index.search(query[None], _K)
            seconds[name].append(time.perf_counter() - start)
        rows = results["chosen"][0][0]
        scores = vectors[rows[rows >= 0]].astype(np.float32) @ query
        shares.append(float((scores >= results["exact"][1][0, -1] - _TIE).sum()) / results["exact"][1].shape[1])
    worst = sorted(shares)[: max(1, len(shares) // 20)]
    return seconds, {"mean": round(float(np.mean(shares)), 4), "worst_twentieth": round(float(np.mean(worst)), 4)}


def _run_in_new_process(measure: Any, *arguments: Any) -> Any:
    """The function's result, computed in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def _memory(file: Path, report: dict[str, Any], test_queries: NDArray[np.float32]) -> dict[str, float]:
    """MiB that opening and searching an index add: its own memory, and mapped."""
    use_one_thread()
    before = resident(os.getpid())
    index = VectorIndex.open(file, report)
    index.search(test_queries, _K)
    after = resident(os.getpid())
    return {"own": round(after["anon"] - before["anon"], 1), "mapped": round(after["file"] - before["file"], 1)}


def _summarize(results: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": results["index"]["kind"],
        "p50": results["latency"]["chosen"]["p50_ms"],
        "share": results["p50_share_of_exact"],
        "exact": results["latency"]["exact"]["p50_ms"],
        "recall": results["recall_at_100"]["mean"],
        "mib": results["memory_mib"]["chosen"]["mapped"],
        "own": results["memory_mib"]["chosen"]["own"],
    }


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
