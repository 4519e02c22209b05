"""What the features of understanding gain: the final score learned with and without them, on held-out queries, paired.

    python -m benchmarks.understanding_gain --releases FOLDER --judgments FILE [--catalog NAME] [--split valid]

Both are learned from the same candidates of the release in service, without the cross-encoder, and measured on queries
that none of their trees saw; queries that state an attribute are measured by themselves, too. Results go to
`benchmarks/results/understanding_gain_<catalog>.json`.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.common import save
from core.plan import Plan
from core.releases import ReleaseStore
from evaluation.comparison import paired
from evaluation.judgments import load_judgments
from evaluation.measures import estimate, grade_range
from lifecycle.final_score.learning import FINAL, GradedQueries, QueryCandidates, evaluate_held_out
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from ranker.features import FEATURE_NAMES
from ranker.train.final import FinalTraining
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.understanding.agreement import AGREEMENT_FEATURES
from retrieval.wire.request import Query


def main() -> None:
    """Measures one release."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--releases", type=Path, required=True, help="Folder of the releases.")
    parser.add_argument("--judgments", type=Path, required=True, help="Judgments of the catalog.")
    parser.add_argument("--catalog", help="The catalog; default: the only one.")
    parser.add_argument("--split", default="valid", help="The split to learn from and measure on, in turns.")
    parser.add_argument("--queries", type=int, default=300, help="Queries at most.")
    options = parser.parse_args()
    store = ReleaseStore(options.releases)
    catalog = store.named(options.catalog)
    release = open_place(find_release(store, catalog, CURRENT))
    table = load_judgments(options.judgments)
    grades = dict(list(select_grades(table, options.split).items())[: options.queries])
    settings = FinalTraining(rerank_depth=0)
    queries, stating = asyncio.run(_candidates(release, list(grades), settings.candidates))
    judged = GradedQueries(grades, grade_range(select_grades(table, "all"))[0])
    with_features = evaluate_held_out(queries, judged, settings)[FINAL]
    without = evaluate_held_out([_masked(entry) for entry in queries], judged, settings)[FINAL]
    results = {"all": _compared(without, with_features, list(without))}
    if stated := [query for query in without if query in stating]:
        results["stating an attribute"] = _compared(without, with_features, stated)
    parameters = {"catalog": catalog, "split": options.split, "queries": len(without)}
    save(f"understanding_gain_{catalog}", parameters, results)
    Console().print_json(data=results)


def _compared(without: dict[str, float], with_features: dict[str, float], queries: Sequence[str]) -> dict[str, object]:
    before, after = ({query: values[query] for query in queries} for values in (without, with_features))
    return {
        "without": asdict(estimate(list(before.values()))),
        "with": asdict(estimate(list(after.values()))),
        "with over without": asdict(paired(before, after)),
    }


async def _candidates(
    release: LoadedRelease, queries: Sequence[str], count: int
) -> tuple[list[QueryCandidates], set[str]]:
    """Each query's candidates with their features, and the queries that state an attribute."""
    plan = Plan(candidates=count, lexical_candidates=count, rerank_depth=0)
    result, stating = [], set()
    for text in queries:
        answer = await search(Query(text), plan, release, Permit(), None)
        candidates = answer.candidates
        if candidates.evidence is None or not len(candidates.rows):
            continue
        ids = [release.columns.id(int(row)) for row in candidates.rows]
        features = release.features(candidates, answer.understanding)
        relevance = np.full(len(ids), np.nan, np.float32)
        result.append(QueryCandidates(text, candidates, features, relevance, ids))
        if any(one.confidence >= 0.5 for one in answer.understanding.attributes):
            stating.add(text)
    return result, stating


def _masked(entry: QueryCandidates) -> QueryCandidates:
    features = entry.features.copy()
    features[:, [FEATURE_NAMES.index(name) for name in AGREEMENT_FEATURES]] = np.nan
    return replace(entry, features=features)


if __name__ == "__main__":
    main()
