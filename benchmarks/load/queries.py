"""A query log: queries, how often each occurs, and judgments of their answers."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from core.errors import TandemError
from evaluation.judgments import load_frequencies, load_judgments
from evaluation.measures import Grades

ALL = "all"


@dataclass(frozen=True, slots=True)
class QueryLog:
    """n different queries, the share of calls of each, shape (n,), and the grades of those that are judged."""

    queries: list[str]
    shares: NDArray[np.float64]
    grades: Grades = field(default_factory=dict)

    def draw(self, count: int, seed: int) -> NDArray[np.int64]:
        """Places of so many queries, shape (count,), drawn by their shares."""
        return np.random.default_rng(seed).choice(len(self.queries), count, p=self.shares)

    def skewed(self, exponent: float, seed: int = 0) -> "QueryLog":
        """The same queries with shares by Zipf's law, 1 / rank^exponent; their order is random."""
        ranks = 1 + np.random.default_rng(seed).permutation(len(self.queries))
        return replace(self, shares=_shares(ranks.astype(float) ** -exponent))


def read_queries(path: Path, split: str = "test") -> QueryLog:
    """Judgments (Parquet, JSONL or CSV with `product_id`), a CSV of `query` and `count`, or text with a query a line.

    Of judgments only those of the split are used, `all` for every one; a column `count` or `frequency` gives the
    shares. Raises TandemError for a file that cannot be used.
    """
    if not path.is_file():
        raise TandemError(
            f"{path}: no such file; give judgments, a CSV of query and count, or text with a query a line"
        )
    if path.suffix in (".txt", ""):
        counts = dict(Counter(line for raw in _lines(path) if (line := raw.strip())))
        return _read_counts(counts, path)
    if path.suffix == ".csv" and "product_id" not in _columns(path):
        return _read_counts(load_frequencies(path), path)
    return _read_judged(path, split)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise TandemError(f"{path}: is not UTF-8 text") from None


def _columns(path: Path) -> list[str]:
    try:
        with pyarrow.csv.open_csv(path) as reader:
            return reader.schema.names
    except pa.ArrowException as error:
        raise TandemError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from None


def _read_counts(counts: dict[str, float] | dict[str, int] | None, path: Path) -> QueryLog:
    if counts is None:
        raise TandemError(f"{path}: has no column count; give query and count, or text with a query a line")
    counted = {query: float(count) for query, count in counts.items() if count > 0}
    if not counted:
        raise TandemError(f"{path}: holds no queries")
    return QueryLog(list(counted), _shares(np.array(list(counted.values()))))


def _read_judged(path: Path, split: str) -> QueryLog:
    grades: dict[str, dict[str, float]] = {}
    for row in load_judgments(path).to_pylist():
        if split in (ALL, row["split"]):
            grades.setdefault(row["query"], {})[row["product_id"]] = row["grade"]
    if not grades:
        raise TandemError(f"{path}: no query is in split {split!r}; use train, valid, test or {ALL}")
    counts = load_frequencies(path) or {}
    frequencies = np.array([counts.get(query, 0.0) if counts else 1.0 for query in grades])
    return QueryLog(list(grades), _shares(frequencies if frequencies.sum() else np.ones(len(grades))), grades)


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights / weights.sum()
