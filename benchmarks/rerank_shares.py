"""Whether the cross-encoder takes anything from fusion, in shops it learned of and in others.

    python -m benchmarks.rerank_shares --data FOLDER --work FOLDER --models NAME=FOLDER [--set home_depot:test]
    python -m benchmarks.rerank_shares --data FOLDER --work FOLDER --planted FOLDER [--set home_depot:test]

A FOLDER of models has `encoder` and `ranker`; of the second way, which needs no ranker, it has `encoder`, and the
relevance is planted: noise, the towers' own similarity, that with as much noise, and the grades with some of both. The
sets are those of `benchmarks/unseen_shops.py`. Releases have no final score. Every query is sent once, 32 candidates
are rescored, and nDCG@10 of the served order, of the cross-encoder alone and of other shares of it are paired with that
of fusion alone.
Parameters and results go to `benchmarks/results/<name>.json`.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.common import save
from benchmarks.unseen_shops import SETS, find_shop, shop_name, show_rows
from core.errors import TandemError
from core.plan import RERANK_DEPTH, Plan
from core.progress import Steps
from core.releases import ReleaseStore
from evaluation.comparison import paired
from evaluation.measures import Grades, full_ranking_measures, grade_range
from indexer.models import ModelFolders
from lifecycle.cli.progress import Bars
from ranker.mix import mixed_scores
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query

_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
_PLANTED = ("noise", "towers", "towers and noise", "grades")


@dataclass(frozen=True)
class Ordered:
    """A query's candidates as fusion has them, and the relevance of the first, which were rescored."""

    ids: list[str]
    relevance: np.ndarray
    similarity: np.ndarray

    def ranking(self, share: float) -> list[str]:
        """With so much of the cross-encoder's order."""
        depth = len(self.relevance)
        order = np.argsort(-mixed_scores(self.relevance, share), kind="stable")
        return [*(self.ids[place] for place in order), *self.ids[depth:]]


def main() -> None:
    """Indexes what is not indexed yet, asks all, and saves the table."""
    options = _options()
    steps = Bars(Console(stderr=True))
    results: dict[str, Any] = {}
    for text in options.models:
        name, _, folder = text.partition("=")
        for wanted in options.set or SETS:
            results.setdefault(name, {})[wanted] = _measured(Path(folder), wanted, options, steps)
            _show(name, wanted, results[name][wanted])
    for wanted in (options.set or SETS) if options.planted else ():
        for kind, found in _measured(options.planted, wanted, options, steps, planted=True).items():
            results.setdefault(kind, {})[wanted] = found
            _show(kind, wanted, found)
    parameters = {"depth": RERANK_DEPTH, "queries": options.queries, "shares": _SHARES}
    print(save(options.name, parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the releases")
    parser.add_argument("--models", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--planted", type=Path, metavar="FOLDER")
    parser.add_argument("--set", action="append", metavar="SOURCE:QUERIES")
    parser.add_argument("--queries", type=int, default=300, help="at most, of each set")
    parser.add_argument("--name", default="rerank_shares")
    return parser.parse_args()


def _measured(
    models: Path, wanted: str, options: argparse.Namespace, steps: Steps, planted: bool = False
) -> dict[str, Any]:
    store = ReleaseStore(options.work / shop_name(wanted))
    model_folders = ModelFolders(models / "encoder", None if planted else models / "ranker")
    shop = find_shop(wanted, options.data, options.work)
    release = shop.open(store, model_folders, steps)
    try:
        grades = shop.queries(release, options.queries)
        answers, size = asyncio.run(_ask(release, list(grades), steps)), {"products": release.products}
        if planted:
            kinds = {name: _planted(grades, answers, name) for name in _PLANTED}
            return {name: size | _compared(grades, entries, None) for name, entries in kinds.items()}
        return size | _compared(grades, answers, release.mix)
    finally:
        release.retire()


async def _ask(release: LoadedRelease, queries: Sequence[str], steps: Steps) -> dict[str, Ordered]:
    plan = Plan(rerank_depth=RERANK_DEPTH, minimum_rerank=1)
    result = {}
    with Admission(1).enter() as permit, steps.step("search") as report:
        for done, text in enumerate(queries, 1):
            answer = await search(Query(text, top_k=1), plan, release, permit, None)
            ids = [release.columns.id(int(row)) for row in answer.candidates.rows]
            assert answer.candidates.dense is not None, "nothing fails here"
            relevance = answer.relevance[~np.isnan(answer.relevance)]
            result[text] = Ordered(ids, relevance, answer.candidates.dense.scores[:RERANK_DEPTH])
            report(done, len(queries))
    return result


def _planted(grades: Grades, answers: Mapping[str, Ordered], kind: str) -> dict[str, Ordered]:
    """The same with relevance that is made up, in standard deviations."""
    random = np.random.default_rng(1)
    lowest, highest = grade_range(grades)
    result = {}
    for query, entry in answers.items():
        similar = entry.similarity - entry.similarity.mean()
        similar = similar / max(float(similar.std()), 1e-9)
        noise = random.normal(size=len(similar))
        graded = np.array([grades[query].get(name, lowest) - lowest for name in entry.ids[: len(similar)]])
        known = 2 * graded / (highest - lowest) + 0.8 * similar + 0.7 * noise
        relevance_by_kind = {"noise": noise, "towers": similar, "towers and noise": similar + noise, "grades": known}
        result[query] = replace(entry, relevance=relevance_by_kind[kind])
    return result


def _compared(grades: Grades, answers: Mapping[str, Ordered], mix: float | None) -> dict[str, Any]:
    lowest, highest = grade_range(grades)

    def ndcg(share: float) -> dict[str, float]:
        rankings = {query: entry.ranking(share) for query, entry in answers.items()}
        return full_ranking_measures(grades, rankings, lowest, highest)["nDCG@10"]

    fused = ndcg(0.0)
    rows = {f"share {share:g}": ndcg(share) for share in _SHARES}
    if mix is not None:
        rows["served"] = ndcg(mix)
    table: dict[str, Any] = {}
    for name, values in rows.items():
        test = paired(fused, values)
        table[name] = {"nDCG@10": test.b, "over fused": asdict(test.difference) | {"p": test.p}}
    return {"queries": len(fused), "mix": mix, "fused": float(np.mean(list(fused.values()))), "rows": table}


def _show(name: str, wanted: str, result: Mapping[str, Any]) -> None:
    print(f"{name}, {wanted}, {result['queries']} queries, mix {result['mix']}: fused {result['fused']:.4f}")
    show_rows(result["rows"], "over fused")


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
