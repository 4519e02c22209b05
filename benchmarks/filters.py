"""Filtered vector search: recall against exact filtered search, and latency beside a search without a filter.

    python -m benchmarks.filters --synthetic 1000000 [--index-kind ivf_sq8]
    python -m benchmarks.filters --release RELEASES CATALOG --queries FILE

Synthetic vectors lie in clusters of clusters, as products of one kind and department do. Columns are uniform (each
product passes by chance), or made of clusters: those nearest to the query (correlated) or farthest from it (anti-
correlated). Of a release, filters are equalities of its real columns and pairs of them, near the shares asked for; a
correlated one is the value that is most frequent among the query's nearest products, an anti-correlated one a value
that none of its nearest 1,000 has. Single queries on one thread, the search without a filter and the filtered one in
turn, in processor time of that thread, which other work on the machine lengthens least; recall@10 counts by score.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import save
from catalog.columns import Kind
from catalog.view import CatalogView
from core.filters import Equal
from core.releases import ReleaseStore
from engine.vector.filtering import EXACT_KIND, plan_filter
from engine.vector.index import VectorIndex, use_one_thread
from indexer.build import IndexSettings, build_index
from retrieval.release.loaded import open_release

_K = 10
_TIE = 1e-4
_SHARES = (0.2, 0.1, 0.01, 0.001, 0.0001)
_PAIRS = ((0.2, 0.2), (0.1, 0.1), (0.01, 0.01))
_DEPARTMENTS, _CLUSTERS = 40, 2000
_SEED = 11


@dataclass(frozen=True, slots=True)
class Row:
    """One filter of the table: a mask for each query."""

    name: str
    masks: list[NDArray[np.bool_]]


def main() -> None:
    """Measures every row, prints a table and saves the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", type=int, help="products, of 384 dimensions")
    parser.add_argument("--release", nargs=2, metavar=("RELEASES", "CATALOG"), help="a release in place of them")
    parser.add_argument("--index-kind", help="of synthetic products; default: as `tandem index` chooses")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--name", default="filters", help="of the results file")
    options = parser.parse_args()
    parameters = {"k": _K, "queries": options.queries, "load_average_before": round(os.getloadavg()[0], 2)}
    use_one_thread()
    if options.release:
        index, queries, rows, report = _from_release(Path(options.release[0]), options.release[1], options.queries)
        parameters |= {"catalog": options.release[1], "products": index.count}
    else:
        count = options.synthetic or 1_000_000
        index, queries, rows, report = _synthetic(count, options.queries, options.index_kind)
        parameters |= {"products": count, "dimensions": 384, "clusters": _CLUSTERS}
    parameters["index"] = {key: report[key] for key in ("kind", "settings", "recall_at_100", "filter_plans")}
    results = {"rows": [_measure(index, queries, row, report) for row in rows]}
    print(f"{'filter':34} {'passing':>8} {'plan':>7} {'recall@10':>9} {'p50 ms':>8} {'unfiltered':>10} {'ratio':>6}")
    for row in results["rows"]:
        print(
            f"{row['filter']:34} {row['share']:8.4%} {row['plan']:>7} {row['recall']:9.4f} {row['p50_ms']:8.2f} "
            f"{row['unfiltered_p50_ms']:10.2f} {row['ratio']:6.2f}"
        )
    print(save(options.name, parameters, results))


def _measure(index: VectorIndex, queries: NDArray[np.float32], row: Row, report: dict[str, Any]) -> dict[str, Any]:
    filtered, plain, recalls, shares = [], [], [], []
    for query, mask in zip(queries, row.masks, strict=True):
        start = time.thread_time()
        index.search(query[None], _K)
        middle = time.thread_time()
        rows, _ = index.search(query[None], _K, mask)
        end = time.thread_time()
        plain.append(middle - start)
        filtered.append(end - middle)
        recalls.append(_recall(index, query, mask, rows[0]))
        shares.append(float(mask.mean()))
    share = float(np.mean(shares))
    exact_kind = report["kind"] == EXACT_KIND
    p50, base = float(np.median(filtered)) * 1000, float(np.median(plain)) * 1000
    return {
        "filter": row.name,
        "share": share,
        "plan": plan_filter(exact_kind, index.count, round(share * index.count), report["filter_plans"]).execution,
        "recall": round(float(np.mean(recalls)), 4),
        "worst_query": round(float(np.min(recalls)), 2),
        "p50_ms": round(p50, 3),
        "unfiltered_p50_ms": round(base, 3),
        "ratio": round(p50 / base, 3),
    }


def _recall(index: VectorIndex, query: NDArray[np.float32], mask: NDArray[np.bool_], rows: NDArray[np.int64]) -> float:
    """The share of the best k that pass, by score; 1 where nothing passes."""
    passing = np.flatnonzero(mask)
    if not len(passing):
        return 1.0
    exact = np.concatenate(
        [index.similarities(query, part) for part in np.array_split(passing, -(-len(passing) // 65536))]
    )
    k = min(_K, len(passing))
    kth = -np.partition(-exact, k - 1)[k - 1]
    returned = rows[rows >= 0]
    assert mask[returned].all(), "a product that fails the filter was returned"
    return float((index.similarities(query, returned) >= kth - _TIE).sum() / k)


def _synthetic(
    count: int, count_queries: int, kind: str | None
) -> tuple[VectorIndex, NDArray[np.float32], list[Row], dict[str, Any]]:
    random = np.random.default_rng(_SEED)
    departments = _unit(random.standard_normal((_DEPARTMENTS, 384)))
    centres = _unit(departments[np.arange(_CLUSTERS) % _DEPARTMENTS] + 0.04 * random.standard_normal((_CLUSTERS, 384)))
    cluster = random.integers(0, _CLUSTERS, count)
    vectors = np.empty((count, 384), np.float16)
    for start in range(0, count, 65536):
        part = slice(start, min(start + 65536, count))
        noise = random.standard_normal((part.stop - part.start, 384)).astype(np.float32) * 0.045
        vectors[part] = _unit(centres[cluster[part]] + noise)
    held_out, queries = (
        _unit(centres[random.integers(0, _CLUSTERS, number)] + random.standard_normal((number, 384)) * 0.03)
        for number in (200, count_queries)
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = IndexSettings(kind=kind)
        report = build_index(vectors, held_out.astype(np.float32), Path(folder) / "index.faiss", settings).model_dump()
        index = VectorIndex.open(Path(folder) / "index.faiss", report)
    return index, queries, list(_synthetic_rows(count, cluster, centres, queries, random)), report


def _synthetic_rows(
    count: int, cluster: NDArray, centres: NDArray, queries: NDArray, random: np.random.Generator
) -> Iterator[Row]:
    uniform = {share: random.random(count) < share for share in _SHARES}
    for share, mask in uniform.items():
        yield Row(f"uniform {share:.2%}", [mask] * len(queries))
    for one, other in _PAIRS:
        both = uniform[one] & (random.random(count) < other)
        yield Row(f"uniform {one:.0%} AND {other:.0%}", [both] * len(queries))
    nearness = queries @ centres.T
    order = np.argsort(-nearness, axis=1)
    for share in (0.2, 0.1, 0.01, 0.001):
        clusters = max(1, round(share * _CLUSTERS))
        for name, chosen in (("correlated", order[:, :clusters]), ("anti-correlated", order[:, -clusters:])):
            yield Row(f"{name} {share:.2%}", [np.isin(cluster, line) for line in chosen])


def _unit(vectors: NDArray) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _from_release(
    root: Path, catalog: str, count: int
) -> tuple[VectorIndex, NDArray[np.float32], list[Row], dict[str, Any]]:
    store = ReleaseStore(root)
    manifest = store.in_service(catalog)
    assert manifest is not None, f"there is no release of {catalog} in {root}"
    folder = store.path(catalog, manifest.release_id)
    release = open_release(folder, manifest)
    index = VectorIndex.open(folder / "index.faiss", manifest.snapshot.index)
    random = np.random.default_rng(_SEED)
    rows = np.sort(random.choice(index.count, count, replace=False))
    # Queries near products, and not products themselves: as far as a short query is from what it means.
    queries = _unit(index.vectors(rows) + 0.03 * random.standard_normal((count, index.dimensions)).astype(np.float32))
    release.retire()
    return index, queries, list(_release_rows(release.view, index, queries)), manifest.snapshot.index


def _release_rows(view: CatalogView, index: VectorIndex, queries: NDArray[np.float32]) -> Iterator[Row]:
    values = {
        (name, value): mask
        for name, kind in (view.field_kinds or {}).items()
        if kind in (Kind.string, Kind.strings) and name not in ("id", "title", "item_group_id")
        for value, mask in _frequent(view, name)
    }
    for wanted in (0.2, 0.1, 0.01, 0.001, 0.0001):
        (name, value), mask = min(values.items(), key=lambda entry: abs(np.log(entry[1].mean() / wanted)))
        yield Row(f"{name} = {value}"[:34], [mask] * len(queries))
    for wanted in (0.04, 0.01, 0.0001):
        pair = min(_pairs(values), key=lambda entry: abs(np.log(max(entry[1].mean(), 1e-9) / wanted)))
        yield Row(f"{pair[0][0]} AND {pair[0][1]}"[:34], [pair[1]] * len(queries))
    nearest = index.search(queries, 1000)[0]
    for name in ("product_type", "color"):
        own = [(value, mask) for (field, value), mask in values.items() if field == name]
        close = [max(own, key=lambda entry: entry[1][line[:50]].sum())[1] for line in nearest]
        far = [next((m for _, m in own if not m[line].any()), own[-1][1]) for line in nearest]
        yield Row(f"{name}, correlated", close)
        yield Row(f"{name}, anti-correlated", far)


def _frequent(view: CatalogView, name: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    column = view.column(name)
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    for code in np.argsort(-counts)[:60].tolist():
        mask = view.mask(Equal(name, column.values[code]))
        if mask is not None and 5 <= mask.sum() < len(mask):
            yield column.values[code], mask


def _pairs(values: dict[tuple[str, str], NDArray[np.bool_]]) -> Iterator[tuple[tuple[str, str], NDArray[np.bool_]]]:
    some = list(values.items())[::7][:40]
    for ((a, x), one), ((b, y), other) in itertools.combinations(some, 2):
        if a != b:
            yield (f"{a} = {x}", f"{b} = {y}"), one & other


if __name__ == "__main__":
    main()
