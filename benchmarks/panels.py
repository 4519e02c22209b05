"""Pictures of the dashboard's panels, of a real load: a service of two processes, scraped by a Prometheus.

    python -m benchmarks.panels --releases releases --queries judgments.parquet [--seconds 30]

The load grows to four times what is admitted at once, with suggestions, recommendations, changes and wrong calls
among the searches. After two thirds of the time a serving process is killed. Needs the program `prometheus`.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import psutil
from rich.console import Console

from benchmarks.common import free_address, serving
from benchmarks.load.queries import read_queries
from core.errors import TandemError
from docs.generate.panels import PANELS, WINDOW, Panel, Query
from tandem.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    recommend_pb2,
    recommend_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

_PLACES = 12
_CHANNELS = 8
_WINDOW = "6s"
_COLUMNS = 3
_CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: tandem
    static_configs: [{{targets: ["{address}"]}}]
"""


def main() -> None:
    """Makes the load and draws the panels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=Path("docs/images/monitoring.png"))
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    address, metrics = free_address(), free_address()
    settings = {
        "TANDEM_SERVE_PROCESSES": "2",
        "TANDEM_SERVE_MAX_IN_FLIGHT": str(_PLACES),
        "TANDEM_SERVE_METRICS_ADDRESS": metrics,
        "TANDEM_SERVE_PROBE_SHARE": "0.2",
    }
    with serving(options.releases, address, settings) as pid, _prometheus(metrics) as prometheus:
        began = time.time()
        asyncio.run(_load(address, pid, queries, options.seconds))
        drawn = {panel.title: _series(prometheus, panel, began, time.time()) for panel in PANELS}
    _draw(drawn, options.output)
    empty = [title for title, series in drawn.items() if not series]
    Console().print(f"wrote {options.output}; without data: {', '.join(empty) or 'none'}")


@contextmanager
def _prometheus(target: str) -> Iterator[str]:
    """A Prometheus that scrapes the target every second; yields its address."""
    address = free_address()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "prometheus.yaml"
        configuration.write_text(_CONFIGURATION.format(address=target))
        options = [f"--config.file={configuration}", f"--storage.tsdb.path={folder}/data"]
        try:
            process = subprocess.Popen(
                ["prometheus", *options, f"--web.listen-address={address}", "--log.level=error"],
            )
        except FileNotFoundError:
            raise TandemError("the program `prometheus` is not installed") from None
        try:
            yield address
        finally:
            process.terminate()
            process.wait(30)


async def _load(address: str, pid: int, queries: list[str], seconds: float) -> None:
    """Calls of all kinds; more at once as time goes on."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(_CHANNELS)]
    until = time.monotonic() + seconds
    texts = cycle(random.Random(1).sample(queries, len(queries)))

    async def client(number: int, start: float) -> None:
        await asyncio.sleep(start)
        channel = channels[number % _CHANNELS]
        while time.monotonic() < until:
            try:
                await _call(channel, random.random(), next(texts))
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)

    async def kill_one() -> None:
        await asyncio.sleep(2 * seconds / 3)
        psutil.Process(pid).children()[0].send_signal(signal.SIGKILL)

    clients = 4 * _PLACES
    starts = [seconds * (number / clients) ** 0.5 for number in range(clients)]
    await asyncio.gather(kill_one(), *(client(number, start) for number, start in enumerate(starts)))
    await asyncio.gather(*(channel.close() for channel in channels))


async def _call(channel: grpc.aio.Channel, kind: float, text: str) -> None:
    search = search_pb2_grpc.SearchServiceStub(channel)
    if kind < 0.8:
        await search.Search(search_pb2.SearchRequest(query=text, top_k=10), timeout=2)
    elif kind < 0.85:
        await search.Search(search_pb2.SearchRequest(query=text, top_k=-1), timeout=2)
    elif kind < 0.93:
        await search.Suggest(search_pb2.SuggestRequest(prefix=text[:4]), timeout=2)
    elif kind < 0.98:
        popular = recommend_pb2.RecommendRequest(popular=recommend_pb2.PopularSubject())
        await recommend_pb2_grpc.RecommendServiceStub(channel).Recommend(popular, timeout=2)
    else:
        request = catalog_pb2.UpsertRequest()
        request.products.add(product_id=f"new-{random.randrange(1000)}").row.update({"title": text})
        await catalog_pb2_grpc.CatalogServiceStub(channel).Upsert(request, timeout=2)


def _series(prometheus: str, panel: Panel, began: float, ended: float) -> dict[str, tuple[list[float], list[float]]]:
    """Times, in seconds since it began, and values of each series of a panel, by its name."""
    series = {}
    for query in panel.queries:
        parameters = {"query": query.expression.replace(WINDOW, _WINDOW), "start": began, "end": ended, "step": 1}
        url = f"http://{prometheus}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            result = json.load(answer)["data"]["result"]
        for each in result:
            points = [(float(at) - began, float(value)) for at, value in each["values"] if value != "NaN"]
            if points:
                times, values = zip(*points, strict=True)
                series[_legend(query, each["metric"])] = list(times), list(values)
    return series


def _legend(query: Query, labels: dict[str, str]) -> str:
    text = query.legend
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value.removeprefix("tandem.v1."))
    return text


def _draw(drawn: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(drawn) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(6 * _COLUMNS, 2.7 * rows), sharex=True)
    for axis, (title, series) in zip(axes.flat, drawn.items(), strict=False):
        axis.set_title(title, fontsize=9)
        for name, (times, values) in series.items():
            axis.plot(times, values, label=name, linewidth=1)
        highest = max((max(values) for _, values in series.values()), default=0.0)
        axis.set_ylim(0, 1.15 * highest or 1.0)
        axis.tick_params(labelsize=7)
        if series:
            axis.legend(fontsize=6, loc="upper left", framealpha=0.6)
        else:
            axis.text(0.5, 0.5, "no data", transform=axis.transAxes, ha="center", color="gray")
    for axis in axes.flat[len(drawn) :]:
        axis.set_axis_off()
    figure.supxlabel("seconds", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=75)


if __name__ == "__main__":
    main()
