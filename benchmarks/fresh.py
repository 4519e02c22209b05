"""Fresh segments: the same quality as one base segment, and what they cost.

    python -m benchmarks.fresh --releases FOLDER CATALOG --whole RELEASE --base RELEASE --judgments FILE

`--whole` is a release of all products, `--base` one of some of them, with the same models. What the base lacks is put
into fresh segments over it, with the vectors and tokens of the whole. Judged queries run through all stages in both.
Times: building segments; searching with some of them and with none, in processor time, query by query in turn and
without caches; merging them, with the longest that another thread waited in the best of several runs; changing prices
in their place; looking up ids.
"""

import argparse
import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.common import save
from catalog.segment import Segment
from catalog.view import CatalogView
from core.plan import Plan
from core.releases import ReleaseStore
from evaluation.comparison import paired
from evaluation.measures import Grades, full_ranking_measures, grade_range
from lifecycle.quality.evaluate import select_grades
from retrieval.live.fresh import FreshSegments
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease, open_release
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_TOP_K, _SEED = 100, 5
_BUILT = (1, 10, 100)
_REPEATS = 15
_ROWS_OF_SEGMENTS = 800
_MERGED = 10_000


def main() -> None:
    """Measures, prints and saves."""
    options = _options()
    store = ReleaseStore(Path(options.releases[0]))
    catalog = options.releases[1]
    parameters = {
        "catalog": catalog,
        "queries": options.queries,
        "segments": options.segments,
        "load_average_before": round(os.getloadavg()[0], 2),
    }
    whole, base = (_open(store, catalog, name) for name in (options.whole, options.base))
    results = asyncio.run(_measure(whole, base, options))
    for name, value in results.items():
        print(name, value)
    print(save(f"fresh_{catalog}" if options.name is None else options.name, parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", nargs=2, metavar=("FOLDER", "CATALOG"), required=True)
    parser.add_argument("--whole", required=True, help="release of all products")
    parser.add_argument("--base", required=True, help="release of some of them")
    parser.add_argument("--judgments", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=400, help="at most, drawn by chance")
    parser.add_argument("--segments", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--name", help="of the results file")
    return parser.parse_args()


def _open(store: ReleaseStore, catalog: str, release: str) -> LoadedRelease:
    return open_release(store.path(catalog, release), store.verify(catalog, release))


async def _measure(whole: LoadedRelease, base: LoadedRelease, options: argparse.Namespace) -> dict[str, Any]:
    maker = _maker(base)
    held = set(base.columns.ids())
    rows = np.array([row for row, name in enumerate(whole.columns.ids()) if name not in held])
    grades = _grades(options.judgments, options.queries)
    results: dict[str, Any] = {"products": {"base": base.products, "fresh": len(rows)}}
    results["building"] = await _building(whole, maker, rows)
    parts = [await _segment(whole, maker, own) for own in np.array_split(rows, max(options.segments))]
    results["quality"] = await _quality(whole, base, parts, grades)
    results["searching"] = await _searching(whole, base, maker, rows, options.segments, list(grades))
    results["merging"] = await _merging(whole, maker, rows)
    results["changing"] = _changing(maker, base.view.base)
    return results


def _maker(release: LoadedRelease) -> FreshSegments:
    return FreshSegments(release.view.base, release.manifest, release.words.index if release.words else None)


def _grades(path: Path, most: int) -> Grades:
    grades = select_grades(pq.read_table(path), "all")
    chosen = np.random.default_rng(_SEED).permutation(sorted(grades))[:most]
    return {str(query): grades[str(query)] for query in chosen}


async def _segment(whole: LoadedRelease, maker: FreshSegments, rows: np.ndarray) -> Segment:
    """A fresh segment of these rows of the whole release."""
    vectors = await whole.engine.vectors(rows, None)
    tokens = whole.view.tokens(rows) if whole.ranker is not None else None
    return maker.build([whole.columns.row(row) for row in rows.tolist()], vectors, tokens)


async def _quality(
    whole: LoadedRelease, base: LoadedRelease, parts: Sequence[Segment], grades: Grades
) -> dict[str, Any]:
    """nDCG@10 of all stages over one base segment and over base and fresh segments."""
    published, base.view = base.view, CatalogView(base.view.base, parts, revision=1)
    try:
        alone, with_fresh = await _ndcg(whole, grades), await _ndcg(base, grades)
    finally:
        base.view = published
    test = paired(alone, with_fresh)
    return {
        "one base segment": round(test.a, 5),
        "with fresh segments": round(test.b, 5),
        "difference": {name: round(value, 5) for name, value in asdict(test.difference).items()},
        "p": test.p,
        "queries": len(alone),
    }


async def _ndcg(release: LoadedRelease, grades: Grades) -> dict[str, float]:
    rankings = {}
    for query in grades:
        answer = await search(Query(query, top_k=_TOP_K), Plan(), release, Permit(), None)
        rankings[query] = [answer.view.id(hit.row) for hit in answer.hits]
    return full_ranking_measures(grades, rankings, *grade_range(grades))["nDCG@10"]


async def _building(whole: LoadedRelease, maker: FreshSegments, rows: np.ndarray) -> dict[str, Any]:
    """Milliseconds to make a segment, but for vectors and tokens."""
    result = {}
    for count in _BUILT:
        seconds = []
        for place in range(_REPEATS):
            own = rows[place * count : (place + 1) * count]
            vectors = await whole.engine.vectors(own, None)
            tokens = whole.view.tokens(own) if whole.ranker is not None else None
            products = [whole.columns.row(row) for row in own.tolist()]
            seconds.append(_seconds(lambda: maker.build(products, vectors, tokens)))  # noqa: B023
        result[f"{count} products"] = _median_ms(seconds)
    return result


async def _searching(
    whole: LoadedRelease,
    base: LoadedRelease,
    maker: FreshSegments,
    rows: np.ndarray,
    counts: Sequence[int],
    queries: Sequence[str],
) -> dict[str, Any]:
    """Milliseconds of processor time of a search without rescoring, through views that hold the same fresh products in
    more and more segments while as many of the base are deleted; the last one is a new view for each query."""
    published = base.view
    own = rows[:_ROWS_OF_SEGMENTS]
    deleted = np.zeros(base.products + len(own), bool)
    deleted[np.random.default_rng(_SEED).choice(base.products, len(own), replace=False)] = True
    views = {"none": published}
    for count in counts:
        parts = [await _segment(whole, maker, some) for some in np.array_split(own, count)]
        views[f"{count} segments"] = CatalogView(published.base, parts, deleted, revision=count)
    latest = views[f"{counts[-1]} segments"]
    names = [*views, "a new view each time"]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    try:
        for number, query in enumerate(queries):
            for place in range(len(names)):
                name = names[(place + number) % len(names)]
                fresh = CatalogView(published.base, latest.segments[1:], deleted, revision=9)
                base.view = views.get(name, fresh)
                start = time.process_time()
                await search(Query(query, top_k=10), Plan(rerank_depth=0), base, Permit(), None)
                seconds[name].append(time.process_time() - start)
    finally:
        base.view = published
    none = np.array(seconds["none"])
    return {
        name: {
            "p50_ms": round(float(np.median(own)) * 1000, 2),
            "p95_ms": round(float(np.percentile(own, 95)) * 1000, 2),
            "p50 to none": round(float(np.median(own) / np.median(none)), 3),
            "p95 to none": round(float(np.percentile(own, 95) / np.percentile(none, 95)), 3),
        }
        for name, own in seconds.items()
    }


async def _merging(whole: LoadedRelease, maker: FreshSegments, rows: np.ndarray) -> dict[str, Any]:
    """Seconds to merge, and the longest that another thread waited for its turn: the least of several runs, since other
    programs make it wait, too."""
    own = np.resize(rows, _MERGED)
    parts = [await _segment(whole, maker, some) for some in np.array_split(own, 8)]
    kept = [np.random.default_rng(_SEED).random(len(part)) < 0.9 for part in parts]
    maker.merge(parts, kept)  # what is loaded at first use is there
    seconds, waits = [], []
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    for _ in range(_REPEATS):
        with _waits() as measured:
            time.sleep(0.05)
            measured()
            seconds.append(_seconds(lambda: maker.merge(parts, kept)))
            waits.append(max(measured()))
    sys.setswitchinterval(before)
    return {
        "products": len(own),
        "seconds": round(float(np.median(seconds)), 3),
        "longest wait_ms": round(min(waits) * 1000, 2),
        "median of longest waits_ms": _median_ms(waits),
    }


class _waits:
    """A thread that wants to run each half a millisecond, and how late it was."""

    def __enter__(self) -> Callable[[], list[float]]:
        self._late: list[float] = [0.0]
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self._take

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _take(self) -> list[float]:
        late, self._late = self._late, [0.0]
        return late

    def _run(self) -> None:
        while not self._ends.is_set():
            start = time.perf_counter()
            time.sleep(0.0005)
            self._late.append(time.perf_counter() - start - 0.0005)


def _changing(maker: FreshSegments, base: Segment) -> dict[str, Any]:
    """Milliseconds to change the price and stock of 1 and of 100 products of the base, and to look up an id."""
    random = np.random.default_rng(_SEED)
    segment, result = base, {}
    for count in (1, 100):
        seconds = []
        for _ in range(_REPEATS):
            rows = random.choice(len(base), count, replace=False)
            changes = [{"price_micros": int(random.integers(10**8)), "availability": "in_stock"} for _ in range(count)]
            start = time.perf_counter()
            segment = maker.patch(segment, rows, changes)
            seconds.append(time.perf_counter() - start)
        result[f"{count} products"] = _median_ms(seconds)
    names = [base.table.id(int(row)) for row in random.integers(len(base), size=200)]
    base.table.find(names[0])
    result["id looked up"] = _median_ms([_seconds(lambda: base.table.find(name)) for name in names])  # noqa: B023
    return result


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _median_ms(seconds: Sequence[float]) -> float:
    return round(float(np.median(seconds)) * 1000, 3)


if __name__ == "__main__":
    main()
