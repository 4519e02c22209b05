"""How to fuse what the towers and words find: by rank, by calibrated scores, with one weight or one for each query.

    python -m benchmarks.fusion --releases FOLDER --judgments FILE [--catalog NAME]

Everything is chosen on the valid split and reported on the test split; differences are paired with weighted reciprocal
rank, which is what a release without a final score answers by. Results go to `benchmarks/results/fusion.json`.

Calibrated scores are probabilities that a product is good, by logistic regression on a source's score (Platt, 1999); of
words also as the share of the query's best, which catalogs have in common. They are mixed by one weight (Bruch, Gai and
Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023, arXiv 2210.11934). A query's own weight is what
boosted trees expect to be best for it, from the query and both lists alone; beside it stands what the best weight of
each query would bring, which nothing can know.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sklearn.linear_model import LogisticRegression

from benchmarks.common import save
from benchmarks.quality import beside
from core.errors import TandemError
from core.plan import Plan
from core.progress import Steps
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from evaluation.measures import Grades, PerQuery, full_ranking_measures, grade_range
from lifecycle.cli.progress import Bars
from lifecycle.final_score.learning import fused_scores
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query

# How much words count beside the towers, as a share of 1.
SHARES = tuple(np.linspace(0, 1, 11).round(1).tolist())
BY_RANK = "reciprocal rank"
_DEPTH = 100
_FOLDS = 5

Scores = NDArray[np.float32]
Mix = Callable[["QueryCandidates", float], Scores]


@dataclass(frozen=True)
class QueryCandidates:
    """A query, what both sources found of it, and which of that is good; `ids` in the order of the candidates."""

    query: str
    candidates: CandidateSet
    ids: list[str]
    good: NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Queries of one split, with their grades."""

    queries: list[QueryCandidates]
    grades: Grades

    def measure(self, scores: Sequence[Scores]) -> PerQuery:
        """nDCG@10 and recall@100 of the candidates by these scores."""
        lowest, highest = grade_range(self.grades)
        rankings = {
            entry.query: [entry.ids[place] for place in np.argsort(-score, kind="stable")[:_DEPTH]]
            for entry, score in zip(self.queries, scores, strict=True)
        }
        return full_ranking_measures(self.grades, rankings, lowest, (lowest + highest) / 2)

    def by_share(self, mix: Mix) -> NDArray[np.float64]:
        """nDCG@10 of each query by each share, shape (q, shares); 0 where nothing is good."""
        columns = [self.measure([mix(entry, share) for entry in self.queries])["nDCG@10"] for share in SHARES]
        return np.array([[column.get(entry.query, 0.0) for column in columns] for entry in self.queries])


def main() -> None:
    """Asks all, tunes all, and saves the table."""
    options = _options()
    steps = Bars(Console(stderr=True))
    store = ReleaseStore(options.releases)
    release = open_place(find_release(store, store.named(options.catalog), CURRENT))
    if release.words is None:
        raise TandemError(f"release {release.release_id} has no lexical index: index it again")
    table = load_judgments(options.judgments)
    valid, test = (asyncio.run(_split(release, select_grades(table, name), steps)) for name in ("valid", "test"))
    values = {name: test.measure(scores) for name, scores in _systems(valid, test).items()}
    results = {name: beside(measured, values[BY_RANK], BY_RANK) for name, measured in values.items()}
    for name, row in results.items():
        print(name, {measure: round(row[measure]["mean"], 4) for measure in ("nDCG@10", "recall@100")}, flush=True)
    parameters = {"queries": {"valid": len(valid.queries), "test": len(test.queries)}, "candidates": _DEPTH}
    print(save("fusion", parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, required=True)
    parser.add_argument("--judgments", type=Path, required=True)
    parser.add_argument("--catalog")
    return parser.parse_args()


async def _split(release: LoadedRelease, grades: Grades, steps: Steps) -> Split:
    """Every query's candidates of both sources, each with both scores."""
    lowest, highest = grade_range(grades)
    plan = Plan(candidates=_DEPTH, lexical_candidates=_DEPTH, rerank_depth=0)
    queries = []
    with Admission(1).enter() as permit, steps.step("search") as report:
        for done, (text, judged) in enumerate(grades.items(), 1):
            candidates = (await search(Query(text), plan, release, permit, None)).candidates
            if candidates.evidence is not None and len(candidates.rows):
                ids = [release.columns.id(int(row)) for row in candidates.rows]
                good = np.array([judged.get(name, lowest) >= (lowest + highest) / 2 for name in ids])
                queries.append(QueryCandidates(text, candidates, ids, good))
            report(done, len(grades))
    return Split(queries, grades)


def _systems(valid: Split, test: Split) -> dict[str, list[Scores]]:
    """Each way's scores of the test queries' candidates, tuned on the valid ones."""
    mixes = {BY_RANK: _by_rank} | dict(_calibrated(valid))
    result: dict[str, list[Scores]] = {}
    for name, mix in mixes.items():
        worth = valid.by_share(mix)
        best = SHARES[int(worth.mean(0).argmax())]
        result[name] = [mix(entry, best) for entry in test.queries]
        trees = _predictor(valid, worth)
        shares = [SHARES[place] for place in _expected(trees, test).argmax(1)]
        result[f"{name}, a weight for each query"] = [mix(e, s) for e, s in zip(test.queries, shares, strict=True)]
        known = [SHARES[place] for place in test.by_share(mix).argmax(1)]
        result[f"{name}, the best weight of each query"] = [mix(e, s) for e, s in zip(test.queries, known, strict=True)]
    return result


def _by_rank(entry: QueryCandidates, share: float) -> Scores:
    return fused_scores(entry.candidates, share / (1 - share) if share < 1 else 1e6)


def _calibrated(valid: Split) -> Iterator[tuple[str, Mix]]:
    """Mixes of probabilities: words' scores as they are, and as a share of the query's best."""
    good = np.concatenate([entry.good for entry in valid.queries])
    dense = _probability(np.concatenate([_dense(entry) for entry in valid.queries]), good)
    for name, read in (("calibrated scores", _lexical), ("calibrated scores, words by share", _lexical_share)):
        words = _probability(np.concatenate([read(entry) for entry in valid.queries]), good)
        yield (
            name,
            lambda entry, share, read=read, words=words: (  # type: ignore[misc]
                (1 - share) * dense(_dense(entry)) + share * words(read(entry))
            ),
        )


def _probability(scores: Scores, good: NDArray[np.bool_]) -> Callable[[Scores], Scores]:
    model = LogisticRegression(C=1e6).fit(scores[:, None], good)
    return lambda scores: model.predict_proba(scores[:, None])[:, 1].astype(np.float32)


def _dense(entry: QueryCandidates) -> Scores:
    assert entry.candidates.dense is not None
    return entry.candidates.dense.scores


def _lexical(entry: QueryCandidates) -> Scores:
    assert entry.candidates.lexical is not None
    return entry.candidates.lexical.scores


def _lexical_share(entry: QueryCandidates) -> Scores:
    scores = _lexical(entry)
    return scores / max(float(scores.max()), 1e-6)


def _predictor(valid: Split, worth: NDArray[np.float64]) -> lgb.Booster:
    """Trees of what a share, one more feature, is worth to a query beside the mean of all shares."""
    gain = worth - worth.mean(1, keepdims=True)
    rows = np.concatenate([_features(entry) for entry in valid.queries])
    data = lgb.Dataset(rows, gain.ravel(), free_raw_data=False)
    parameters: dict[str, Any] = {
        "objective": "regression", "learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 200, "seed": 0,
        "num_threads": 1, "deterministic": True, "verbosity": -1,
    }  # fmt: skip
    places = np.arange(len(valid.queries)) % _FOLDS
    folds = []
    for fold in range(_FOLDS):
        split = [np.flatnonzero(np.repeat(places == fold, len(SHARES)) == outside) for outside in (False, True)]
        folds.append((split[0], split[1]))
    folded = lgb.cv(parameters, data, 300, folds=folds, callbacks=[lgb.early_stopping(30, verbose=False)])
    return lgb.train(parameters, data, max(1, len(folded["valid l2-mean"])))


def _expected(trees: lgb.Booster, split: Split) -> NDArray[np.float64]:
    """What each share is expected to gain for each query, beside the mean of all shares; shape (q, shares)."""
    return np.array([trees.predict(_features(entry), num_threads=1) for entry in split.queries])


def _features(entry: QueryCandidates) -> NDArray[np.float64]:
    """What is known of a query before it is fused, and a share; shape (shares, features)."""
    candidates = entry.candidates
    assert candidates.query is not None and candidates.dense is not None and candidates.lexical is not None
    dense, words = np.sort(_dense(entry))[::-1], np.sort(_lexical(entry))[::-1]
    weights = np.array(candidates.query.weights or (0.0,))
    both = (candidates.dense.ranks > 0) & (candidates.lexical.ranks > 0)
    query = [
        len(candidates.query.words),
        sum(any(sign.isdigit() for sign in word.text) for word in candidates.query.words),
        len(candidates.query.spellings),
        float(weights.max()),
        float(weights.mean()),
        float(dense[0]),
        float(dense[0] - dense[min(9, len(dense) - 1)]),
        float(words[0]) / max(float(weights.sum()), 1e-6),
        float(words[min(9, len(words) - 1)]) / max(float(words[0]), 1e-6),
        float(both.mean()),
    ]
    return np.array([[*query, share] for share in SHARES])


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
