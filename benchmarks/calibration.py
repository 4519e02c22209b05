"""How well what is understood of queries is calibrated: product types and attributes.

    python -m benchmarks.calibration --releases FOLDER [--judgments FILE --catalog NAME] [--queries 400]

Queries are made of products: a few neighbouring words of a title, of a product that is then left out of what
answers (its variants, too). The type is that product's; an attribute is right where the product has the value. Of a
catalog with judgments their test queries are asked, too, with the type that most of the best graded products have.

Half of the queries fit the constants of `retrieval/understanding`, the other half measures them: accuracy, expected
calibration error over ten equal bins, and a table of reliability. Results go to
`benchmarks/results/understanding_calibration.json`.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common import save
from catalog.columns import Kind
from core.plan import Plan
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.understanding.attributes import AttributeReader
from retrieval.understanding.types import type_shares
from retrieval.wire.request import Query

_BINS = 10
_POWERS, _OTHERS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


def main() -> None:
    """Measures the releases in service."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--releases", type=Path, required=True, help="Folder of the releases.")
    parser.add_argument("--judgments", type=Path, help="Judgments of a catalog.")
    parser.add_argument("--catalog", default="sample", help="The catalog that was judged.")
    parser.add_argument("--queries", type=int, default=400, help="Queries made of each catalog.")
    options = parser.parse_args()
    store = ReleaseStore(options.releases)
    types: dict[str, list[tuple[dict[str, float], str]]] = {}
    stated: dict[str, list[tuple[float, int, bool]]] = {}
    for catalog in store.catalogs():
        release = open_place(find_release(store, catalog, CURRENT))
        made = list(_made_queries(release, options.queries, np.random.default_rng(5)))
        types[catalog] = asyncio.run(_types(release, made))
        if options.judgments and catalog == options.catalog:
            types[f"{catalog}, judged"] = asyncio.run(_judged_types(release, options.judgments, options.queries))
        stated[catalog] = list(_attributes(release, made))
        release.retire()
    results = {"product types": _fit_types(types), "attributes": _fit_attributes(stated)}
    save("understanding_calibration", {"queries": options.queries, "bins": _BINS}, results)
    Console().print_json(data=results)


def _made_queries(release: LoadedRelease, count: int, random: np.random.Generator) -> Iterator[tuple[int, str]]:
    for row in random.permutation(release.products)[:count].tolist():
        words = release.view.row(row, ("title",))["title"].replace(",", " ").split()
        many = min(int(random.integers(2, 6)), len(words))
        start = int(random.integers(0, len(words) - many + 1))
        yield row, " ".join(words[start : start + many])


async def _types(release: LoadedRelease, queries: Sequence[tuple[int, str]]) -> list[tuple[dict[str, float], str]]:
    """Each query's shares of types among the candidates, and the right type."""
    result = []
    for row, text in queries:
        own = release.view.row(row, ("product_type", "item_group_id"))
        if not own["product_type"]:
            continue
        answer = await search(Query(text), Plan(rerank_depth=0), release, Permit(), None)
        groups = [release.view.row(int(other), ("item_group_id",))["item_group_id"] for other in answer.candidates.rows]
        others = [other != row and (not own["item_group_id"] or group != own["item_group_id"])
                  for other, group in zip(answer.candidates.rows.tolist(), groups, strict=True)]  # fmt: skip
        kept = answer.candidates.ordered(np.flatnonzero(others))
        result.append((type_shares(kept, release.view), own["product_type"]))
    return result


async def _judged_types(release: LoadedRelease, judgments: Path, count: int) -> list[tuple[dict[str, float], str]]:
    rows = {name: row for row, name in enumerate(release.columns.ids())}
    result = []
    for text, grades in list(select_grades(load_judgments(judgments), "test").items())[:count]:
        best = [rows[name] for name, grade in grades.items() if grade == max(grades.values()) and name in rows]
        kinds = Counter(release.view.row(row, ("product_type",))["product_type"] for row in best)
        if kinds:
            answer = await search(Query(text), Plan(rerank_depth=0), release, Permit(), None)
            result.append((type_shares(answer.candidates, release.view), kinds.most_common(1)[0][0]))
    return result


def _attributes(release: LoadedRelease, queries: Sequence[tuple[int, str]]) -> Iterator[tuple[float, int, bool]]:
    """For each attribute that a query may state: the log-odds of its share, its words, whether the product has it."""
    assert release.words is not None and release.view.base.columns is not None
    reader = AttributeReader(release.words.index, release.manifest.language, release.view.base.columns)
    for row, text in queries:
        for option, _, evidence in reader.options(text, without=row):
            if option.column.kind is Kind.number or option.column.kind is Kind.strings or option.column.codes[row] >= 0:
                yield evidence.log_odds, evidence.words, bool(option.has(np.array([row]))[0])


def _fit_types(sets: dict[str, list[tuple[dict[str, float], str]]]) -> dict[str, Any]:
    fitting = [entry for entries in sets.values() for entry in entries[::2]]
    losses = {
        (power, others): -np.mean([np.log(max(_probability(*entry, power, others), 1e-6)) for entry in fitting])
        for power in _POWERS
        for others in _OTHERS
    }
    power, others = min(losses, key=lambda key: losses[key])
    result: dict[str, Any] = {"power": power, "others": others}
    for name, entries in sets.items():
        tops = [(_top(shares, power, others), label) for shares, label in entries[1::2]]
        right = np.array([kind == label for (kind, _), label in tops])
        result[name] = _reliability(np.array([p for (_, p), _ in tops]), right)
    return result


def _top(shares: dict[str, float], power: float, others: float) -> tuple[str, float]:
    if not shares:
        return "", 0.0
    best = min(shares, key=lambda name: (-shares[name], name))
    return best, _probability(shares, best, power, others)


def _probability(shares: dict[str, float], name: str, power: float, others: float) -> float:
    total = sum(share**power for share in shares.values()) * (1 + others)
    return float(shares.get(name, 0.0) ** power / total) if total and name in shares else 0.0


def _fit_attributes(sets: dict[str, list[tuple[float, int, bool]]]) -> dict[str, Any]:
    fitting = np.array([entry for entries in sets.values() for entry in entries[::2]], float)
    weights = _logistic(_design(fitting), fitting[:, 2])
    result: dict[str, Any] = {"bias": weights[0], "by_share": weights[1], "by_length": weights[2]}
    for name, entries in sets.items():
        table = np.array(entries[1::2], float).reshape(-1, 3)
        if len(table):
            result[name] = _reliability(1 / (1 + np.exp(-_design(table) @ weights)), table[:, 2] > 0)
    return result


def _design(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones(len(table)), table[:, 0], table[:, 1] - 1], 1)


def _logistic(inputs: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a logistic regression with a little ridge, by Newton's method."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-inputs @ weights))
        hessian = inputs.T @ (inputs * (p * (1 - p))[:, None]) + 0.1 * np.eye(len(weights))
        weights += np.linalg.solve(hessian, inputs.T @ (labels - p) - 0.1 * weights)
    return weights


def _reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    places = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    table = []
    for place in range(_BINS):
        inside = places == place
        if inside.any():
            means = {"confidence": float(confidence[inside].mean()), "right": float(right[inside].mean())}
            table.append({"from": place / _BINS, "count": int(inside.sum()), **means})
    error = sum(entry["count"] * abs(entry["confidence"] - entry["right"]) for entry in table) / max(len(right), 1)
    return {"count": len(right), "accuracy": float(right.mean()), "calibration_error": error, "reliability": table}


if __name__ == "__main__":
    main()
