"""Five facets and the total, exact, over what a query matches: how long counting takes beside the search.

    python -m benchmarks.facets --release RELEASES CATALOG
    python -m benchmarks.facets --synthetic 1000000

Of a release, queries (the colour and type of products, else their titles) run through the whole pipeline without
rescoring, with a total and five facets and without either; counting alone is the match set, the rows that match, the
total, the facets and the first page's order. Of synthetic columns (two of text, a set, prices, truth values) the match
set is drawn by chance, at several sizes. Counting is given in processor time, answers in wall time, in turn.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import save
from catalog.columns import Column, Columns, Kind
from catalog.segment import Segment
from catalog.view import CatalogView
from core.plan import Plan
from core.releases import ReleaseStore
from engine.protocol import Candidates
from retrieval.listing.match_set import MOST_SIMILAR, LexicalMatches, make_match_set, similar_matches
from retrieval.listing.page import Head, Listing
from retrieval.listing.spec import FacetSpec, ListingSpec
from retrieval.pipeline.search import search
from retrieval.release.loaded import open_release
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

_SEED = 3
_REPEATS = 30
_HM = ("color", "product_type", "attributes.section", "attributes.garment_group", "attributes.index")


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", nargs=2, metavar=("RELEASES", "CATALOG"))
    parser.add_argument("--fields", nargs="+", default=_HM, help="the release's fields to count")
    parser.add_argument("--synthetic", type=int, help="products")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--name", default="facets", help="of the results file")
    options = parser.parse_args()
    parameters: dict[str, Any] = {"load_average_before": round(os.getloadavg()[0], 2)}
    if options.release:
        root, catalog = Path(options.release[0]), options.release[1]
        parameters |= {"catalog": catalog, "fields": list(options.fields), "queries": options.queries}
        results = asyncio.run(_count_release(root, catalog, options.fields, options.queries))
    else:
        parameters |= {"products": options.synthetic or 1_000_000, "repeats": _REPEATS}
        results = {"sizes": _count_columns(parameters["products"])}
    for line in results.get("sizes", [results]):
        print(line)
    print(save(options.name, parameters, results))


async def _count_release(root: Path, catalog: str, fields: Sequence[str], count: int) -> dict[str, Any]:
    store = ReleaseStore(root)
    manifest = store.in_service(catalog)
    assert manifest is not None, f"there is no release of {catalog} in {root}"
    release = open_release(store.path(catalog, manifest.release_id), manifest)
    chosen = np.random.default_rng(_SEED).choice(len(release.columns), count, replace=False)
    rows = [release.columns.row(row, ["title", "color", "product_type"]) for row in chosen.tolist()]
    queries = [
        f"{row['color']} {row['product_type'].rsplit(' > ')[-1]}"
        if row["color"] and row["product_type"]
        else row["title"]
        for row in rows
    ]
    listing = ListingSpec(count=True, facets=tuple(FacetSpec(name) for name in fields), digest=b"benchmrk")
    plan = Plan(rerank_depth=0)
    await release.warm()
    plain: list[float] = []
    listed: list[float] = []
    counting, totals = [], []
    for query in queries:
        for spec, times in ((ListingSpec(), plain), (listing, listed)):
            start = time.perf_counter()
            result = await search(Query(query, listing=spec), plan, release, Permit(), None)
            times.append(time.perf_counter() - start)
        assert result.total is not None
        totals.append(result.total.value)
        counting.append(await _time_counting(release, query, listing))
    release.retire()
    return {
        "matching_p50": int(np.median(totals)),
        "counting_p50_ms": _p50(counting),
        "answer_p50_ms": _p50(plain),
        "answer_with_facets_p50_ms": _p50(listed),
        "ratio": round(float(np.median(np.array(listed) / np.array(plain))), 3),
    }


async def _time_counting(release: Any, query: str, listing: ListingSpec) -> float:
    """Processor seconds of what counting adds, given what the sources return."""
    [tokens] = release.tower.tokenize_queries([query])
    vector = await release.models.encode(tokens, None)
    nearest = await release.models.retrieve(vector, MOST_SIMILAR, None, release.view)
    similar = similar_matches(nearest, release.similarity_threshold)
    words = LexicalMatches(*await release.words.matches(query, release.view))
    return _processor_seconds(lambda: _count(release.view, listing, similar, words))


def _count(view: CatalogView, spec: ListingSpec, similar: Candidates | None, words: LexicalMatches) -> int:
    matches = make_match_set(view, similar, words)
    return Listing(view, spec, matches, None).page(Head.empty(), 0, 10).total


def _count_columns(count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(_SEED)
    levels = np.sort(random.integers(0, 300, (count, 3)).astype(np.int32), axis=1)
    offsets = np.arange(count + 1, dtype=np.int64) * 3
    columns = Columns(
        {
            "brand": Column(Kind.string, codes=random.integers(-1, 2000, count, np.int32), values=_names(2000)),
            "color": Column(Kind.string, codes=random.integers(-1, 30, count, np.int32), values=_names(30)),
            "product_type": Column(Kind.strings, codes=levels.ravel(), offsets=offsets, values=_names(300)),
            "price": Column(Kind.money, "EUR", numbers=random.integers(1, 10**9, count).astype(np.float64)),
            "new": Column(Kind.boolean, codes=random.integers(-1, 2, count, np.int32), values=("false", "true")),
        },
        count,
    )
    nothing = np.zeros(count)
    view = CatalogView(Segment(range(count), nothing, nothing, columns=columns))  # type: ignore[arg-type]
    spec = ListingSpec(count=True, facets=tuple(FacetSpec(name) for name in columns.names))
    lines = []
    for share in (0.001, 0.01, 0.1, 0.5, 1.0):
        covered = (random.random(count) < share).astype(np.float32)
        words = LexicalMatches(covered, covered)
        times = [_processor_seconds(lambda words=words: _count(view, spec, None, words)) for _ in range(_REPEATS)]  # type: ignore[misc]
        lines.append({"matching": int(covered.sum()), "counting_p50_ms": _p50(times)})
    return lines


def _names(count: int) -> list[str]:
    return [f"value {number:05}" for number in range(count)]


def _processor_seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def _p50(seconds: list[float]) -> float:
    return round(float(np.median(seconds)) * 1000, 3)


if __name__ == "__main__":
    main()
