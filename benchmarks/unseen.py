"""What models bring to shops that they have not seen: one shop is left out of training, and measured.

    python -m benchmarks.unseen --data FOLDER --work FOLDER --models left_out:crowdflower=FOLDER
                                [--models adapted:crowdflower=FOLDER] [--set crowdflower:all] [--queries 300]

`--models NAME:SHOP=FOLDER` gives the models that a shop is measured with, such as those that `tandem train --recipe
general --without SHOP` leaves, or what `tandem adapt` makes of them; SHOP may be `*` for all shops. A FOLDER holds
`encoder` and may hold `ranker` and `final`. The sets are those of `benchmarks/unseen_shops.py`: judged queries, and
queries made up of items and attributes. Each query is sent once, without caches; the orders are those of words, of
towers, of both by plain reciprocal rank fusion, fused as served, and the served list with all stages. nDCG@10 over the
catalog is paired with that of the untuned towers and words, fused. Where there is a cross-encoder, the time of a search
that rescores 32 candidates is measured too. The summary has the mean over shops, each shop
counting the same, and the worst set. Parameters and results go to `benchmarks/results/<name>.json`.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.common import save
from benchmarks.unseen_shops import SETS, find_shop, shop_name, show_rows
from core.errors import TandemError
from core.fusion import fuse
from core.plan import RERANK_DEPTH, Plan
from core.progress import Steps
from core.releases import ReleaseStore
from encoder.bundled import export_bundled
from evaluation.comparison import paired
from evaluation.measures import Grades, full_ranking_measures, grade_range
from indexer.models import ModelFolders
from lifecycle.cli.progress import Bars
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query

_UNTUNED = "untuned"
_WORDS, _TOWERS, _RRF, _FUSED, _SERVED = "words", "towers", "plain RRF", "fused", "all stages"
_BASELINE = f"{_UNTUNED}: {_FUSED}"
# Of these the untuned release has no more than fusion.
_ORDERS = {_UNTUNED: (_TOWERS, _RRF, _FUSED)}
_TOP_K = 100


@dataclass(frozen=True)
class Models:
    """A name of models, the shop that they are for (`*`: every shop), and their folder."""

    name: str
    shop: str
    folder: Path

    @property
    def parts(self) -> ModelFolders:
        """Those that are there."""
        ranker, final = (path if path.is_dir() else None for path in (self.folder / "ranker", self.folder / "final"))
        return ModelFolders(self.folder / "encoder", ranker, final=final)


@dataclass(frozen=True)
class Measured:
    """Rankings by order and query, and the median milliseconds of a search."""

    rankings: dict[str, dict[str, list[str]]]
    milliseconds: float


def main() -> None:
    """Indexes what is not indexed yet, sends all queries, and saves the table."""
    options = _options()
    steps = Bars(Console(stderr=True))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        export_bundled(Path(scratch) / "encoder")
        given = [Models(_UNTUNED, "*", Path(scratch)), *map(_models, options.models)]
        for wanted in options.set or SETS:
            results[wanted] = _set(
                wanted, [one for one in given if one.shop in ("*", shop_name(wanted))], options, steps
            )
            _show(wanted, results[wanted])
    results = {"sets": results, "summary": summarize(results)}
    for row, values in results["summary"].items():
        print(
            f"{row}: mean over shops {values['mean']:+.4f}, worst {values['worst']} {values['worst difference']:+.4f}"
        )
    print(save(options.name, {"queries": options.queries, "top_k": _TOP_K}, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the releases")
    parser.add_argument("--models", action="append", default=[], metavar="NAME:SHOP=FOLDER")
    parser.add_argument("--set", action="append", metavar="SHOP:QUERIES")
    parser.add_argument("--queries", type=int, default=300, help="at most, of each set")
    parser.add_argument("--name", default="unseen")
    return parser.parse_args()


def _models(text: str) -> Models:
    names, _, folder = text.partition("=")
    name, _, shop = names.partition(":")
    if not (name and shop and folder and (Path(folder) / "encoder").is_dir()):
        raise TandemError(f"--models {text}: write NAME:SHOP=FOLDER, of a folder that holds encoder")
    return Models(name, shop, Path(folder))


def _set(wanted: str, given: Sequence[Models], options: argparse.Namespace, steps: Steps) -> dict[str, Any]:
    shop = find_shop(wanted, options.data, options.work)
    values: dict[str, dict[str, float]] = {}
    sizes: dict[str, Any] = {}
    for models in given:
        store = ReleaseStore(options.work / models.name / shop_name(wanted))
        release = shop.open(store, models.parts, steps)
        try:
            grades = shop.queries(release, options.queries)
            measured = asyncio.run(_send(release, list(grades), Plan(), steps))
            if release.ranker:
                always = asyncio.run(_send(release, list(grades), Plan(rerank_depth=RERANK_DEPTH), steps))
                sizes[f"{models.name}: ms, {RERANK_DEPTH} rescored"] = round(always.milliseconds, 2)
        finally:
            release.retire()
        for order in _ORDERS.get(models.name, (_TOWERS, _FUSED, _SERVED)):
            values[f"{models.name}: {order}"] = _ndcg(grades, measured.rankings[order])
        if models.name == _UNTUNED:
            values[_WORDS] = _ndcg(grades, measured.rankings[_WORDS])
            sizes |= {"products": release.products, "queries": len(grades)}
        sizes[f"{models.name}: ms"] = round(measured.milliseconds, 2)
    return sizes | {"rows": compare(values)}


async def _send(release: LoadedRelease, queries: Sequence[str], plan: Plan, steps: Steps) -> Measured:
    rankings: dict[str, dict[str, list[str]]] = {}
    seconds = []
    with Admission(1).enter() as permit, steps.step("search") as report:
        for done, text in enumerate(queries, 1):
            start = time.perf_counter()
            result = await search(Query(text, top_k=_TOP_K), plan, release, permit, None)
            seconds.append(time.perf_counter() - start)
            for order, rows in _orders(result).items():
                rankings.setdefault(order, {})[text] = [release.columns.id(int(row)) for row in rows]
            report(done, len(queries))
    return Measured(rankings, float(np.median(seconds)) * 1000)


def _orders(result: SearchResult) -> dict[str, Sequence[int]]:
    candidates = result.candidates
    lists = {
        name: candidates.rows[source.order()] if source else np.zeros(0, np.int64)
        for name, source in ((_WORDS, candidates.lexical), (_TOWERS, candidates.dense))
    }
    plain, _ = fuse(list(lists.values()), (1.0, 1.0))
    fused = candidates.rows[np.argsort(-candidates.scores, kind="stable")]
    rows: dict[str, Any] = {**lists, _RRF: plain, _FUSED: fused, _SERVED: [hit.row for hit in result.hits]}
    return rows


def _ndcg(grades: Grades, rankings: Mapping[str, list[str]]) -> dict[str, float]:
    return full_ranking_measures(grades, rankings, *grade_range(grades))["nDCG@10"]


def compare(values: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Each row's mean, and its paired difference from the untuned towers and words, fused."""
    base = values[_BASELINE]
    tests = {row: paired(base, each) for row, each in values.items()}
    return {
        row: {"nDCG@10": test.b, "difference": asdict(test.difference) | {"p": test.p}} for row, test in tests.items()
    }


def summarize(sets: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each row: the mean difference, every shop counting the same, and the worst set."""
    result = {}
    for row in dict.fromkeys(row for each in sets.values() for row in each["rows"]):
        differences = {
            name: each["rows"][row]["difference"]["mean"] for name, each in sets.items() if row in each["rows"]
        }
        shops: dict[str, list[float]] = {}
        for name, difference in differences.items():
            shops.setdefault(shop_name(name), []).append(difference)
        worst = min(differences, key=lambda name: differences[name])
        mean = float(np.mean([np.mean(each) for each in shops.values()]))
        result[row] = {"mean": mean, "shops": len(shops), "worst": worst, "worst difference": differences[worst]}
    return result


def _show(wanted: str, result: Mapping[str, Any]) -> None:
    print(f"{wanted}, {result['queries']} queries, {result['products']} products")
    show_rows(result["rows"], "difference")


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
