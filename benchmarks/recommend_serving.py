"""Recommend beside Search without rescoring, at the same clients, in turns against one service.

Each round asks for every kind of list for a second, one after the other, so that what else the machine does meets all
of them. Ratios are of a round's own searches, and the median of the rounds is stated; processor time of the service for
each answer depends least on what else runs. Caches are off: a shopper's list is no one else's. Histories are of real
purchases where a file of them is given, else drawn at random.

    python -m benchmarks.recommend_serving --releases releases [--purchases purchases.parquet]
"""

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import NO_CACHES, cpu_seconds, fixed_places, free_address, latencies, save, serving
from catalog.table import ProductTable
from core.releases import ReleaseStore
from tandem.client import RecommendRequest, SearchClient, SearchRequest
from tandem.v1 import recommend_pb2

SEARCH = "search without rescoring"
_LENGTHS = (1, 3, 10, 50)  # products of a history
_PLAN = {"TANDEM_SERVE_PLAN__RERANK_DEPTH": "0", "TANDEM_SERVE_PROFILES": "off", **fixed_places(64)}
_TIMEOUT = 30.0

Ask = Callable[[SearchClient, int], Any]


def kinds(
    titles: Sequence[str], ids: Sequence[str], histories: Sequence[Sequence[str]], catalog: str
) -> dict[str, Ask]:
    """The requests to measure, by name; each is given the number of the request."""

    def search(client: SearchClient, number: int) -> Any:
        words = titles[number % len(titles)].split()[:3]
        return client.search(SearchRequest(query=" ".join(words) or "shirt", catalog=catalog))

    def beside(relation: "recommend_pb2.ProductRelation", **more: Any) -> Ask:
        def ask(client: SearchClient, number: int) -> Any:
            product = {"product_id": ids[number % len(ids)], "relation": relation}
            return client.recommend(RecommendRequest(catalog=catalog, product=product, **more))

        return ask

    def for_history(length: int, **more: Any) -> Ask:
        def ask(client: SearchClient, number: int) -> Any:
            start = number % len(histories)
            names = [name for one in (*histories[start:], *histories[:start])[:length] for name in one][:length]
            products = [{"product_id": name, "action": "USER_ACTION_PURCHASE"} for name in names]
            return client.recommend(RecommendRequest(catalog=catalog, user={"products": products}, **more))

        return ask

    return {
        SEARCH: search,
        **{f"for a history of {length}": for_history(length) for length in _LENGTHS},
        "for a history of 10, with a total": for_history(10, total="TOTAL_MODE_EXACT"),
        "beside a product, similar": beside(recommend_pb2.PRODUCT_RELATION_SIMILAR),
        "beside a product, bought together": beside(recommend_pb2.PRODUCT_RELATION_BOUGHT_TOGETHER),
        "popular": lambda client, _: client.recommend(RecommendRequest(catalog=catalog)),
    }


def measure(address: str, ask: Ask, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Answers a second, and the seconds that each took, of so many clients that ask one after the other."""
    numbers, took = count(), [list[float]() for _ in range(clients)]
    until = time.perf_counter() + seconds

    def work(own: list[float]) -> None:
        with SearchClient(address, _TIMEOUT) as client:
            client.wait()
            while (start := time.perf_counter()) < until:
                ask(client, next(numbers))
                own.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=(own,)) for own in took]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [one for own in took for one in own]
    return len(every) / (time.perf_counter() - began), every


def compare(
    address: str, pid: int, requests: dict[str, Ask], clients: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """A row for each kind: medians over the rounds, and ratios to the round's searches; `pid` is the service's."""
    for ask in requests.values():  # nobody's first runs count
        measure(address, ask, clients, 0.5)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in requests}
    for number in range(rounds):
        turns = list(requests.items())
        for name, ask in turns[number % len(turns) :] + turns[: number % len(turns)]:
            before = cpu_seconds(pid)
            rate, took = measure(address, ask, clients, seconds)
            cpu = 1000 * (cpu_seconds(pid) - before) / len(took)
            runs[name].append({"queries_per_s": rate, "cpu_ms": cpu, **latencies(took)})
    return {name: _row(own, runs[SEARCH]) for name, own in runs.items()}


def _row(runs: Sequence[dict[str, float]], searches: Sequence[dict[str, float]]) -> dict[str, float]:
    pairs = list(zip(runs, searches, strict=True))
    ratios = {"queries/s": "queries_per_s", "p99": "p99_ms", "processor time": "cpu_ms"}
    return {
        **{key: round(median(run[key] for run in runs), 2) for key in runs[0]},
        **{
            f"{name} to search": round(median(one[key] / other[key] for one, other in pairs), 2)
            for name, key in ratios.items()
        },
    }


def _histories(purchases: Path | None, ids: Sequence[str], random: Random) -> list[list[str]]:
    """Lists of products that one shopper bought, of at least two; or of products drawn at random."""
    if purchases is None:
        return [random.sample(list(ids), 50) for _ in range(500)]
    table = pq.read_table(purchases, columns=["customer_id", "article_id"])
    shoppers, articles = table["customer_id"].to_pylist(), table["article_id"].to_pylist()
    by_shopper: dict[str, list[str]] = {}
    for shopper, article in zip(shoppers, articles, strict=True):
        by_shopper.setdefault(shopper, []).append(str(article))
    several = [products for products in by_shopper.values() if len(products) > 1]
    return random.sample(several, min(2000, len(several)))


def _sample(table: ProductTable, random: Random) -> Iterator[tuple[str, str]]:
    for row in random.sample(range(len(table)), min(2000, len(table))):
        values = table.row(row, ("id", "title"))
        yield values["id"], values["title"] or ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, required=True)
    parser.add_argument("--catalog", default="")
    parser.add_argument("--purchases", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    store = ReleaseStore(options.releases)
    catalog = store.named(options.catalog or None)
    release = store.current(catalog)
    assert release is not None
    random = Random(0)
    table = ProductTable(store.path(catalog, release) / "products.arrow")
    ids, titles = zip(*_sample(table, random), strict=True)
    requests = kinds(titles, ids, _histories(options.purchases, ids, random), catalog)
    address = free_address()
    with serving(options.releases, address, {**NO_CACHES, **_PLAN}) as pid:
        rows = compare(address, pid, requests, options.clients, options.seconds, options.rounds)
    has_users = (store.path(catalog, release) / "users").is_dir()
    parameters = {
        **{"products": len(table), "clients": options.clients, "seconds": options.seconds, "rounds": options.rounds},
        **{"behaviour": has_users, "purchases": options.purchases is not None, "top_k": 10},
    }
    print(save("recommend_serving", parameters, rows))
    worst = min((row["queries/s to search"], name) for name, row in rows.items() if name != SEARCH)
    print(f"at the least {worst[0]:.2f} times as many a second as searches: {worst[1]}")


if __name__ == "__main__":
    main()
