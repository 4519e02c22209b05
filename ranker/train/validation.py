"""The judged pairs that a cross-encoder is validated, calibrated and judged by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from evaluation.classification import Flags, Numbers, Pairs, calibration_error, reliability
from evaluation.measures import Grades, pool_ndcg
from ranker.calibration import Calibration
from ranker.train.calibrate import calibrate, isotonic_knots
from ranker.train.settings import Method
from training.examples import BESIDE, GOOD, Examples, PairValues

Logits = NDArray[np.float32]

_FOLDS = 5
_UNCALIBRATED = Calibration(1.0, 0.0, 0.0)


def no_similarity(queries: Sequence[str], products: Sequence[str]) -> NDArray[np.float32]:
    """Zero similarities, for a cross-encoder trained without towers."""
    return np.zeros(len(queries), np.float32)


@dataclass(frozen=True)
class Validation:
    """The judged pairs of whole queries, one after another, and the towers' similarity of each, shape (n,)."""

    grades: Grades
    pairs: list[tuple[str, str]]
    similarities: NDArray[np.float32]

    @classmethod
    def from_grades(cls, grades: Grades, texts: Mapping[str, str], similarity: PairValues) -> "Validation":
        """`texts` are product texts by id."""
        pairs = [(query, texts[product]) for query, products in grades.items() for product in products]
        return cls(grades, pairs, similarity([query for query, _ in pairs], [text for _, text in pairs]))

    @cached_property
    def labels(self) -> Numbers:
        """Each pair's place in the range of grades, from 0 to 1."""
        return np.array([grade for products in self.grades.values() for grade in products.values()])

    @cached_property
    def queries(self) -> NDArray[np.int64]:
        """The number of each pair's query."""
        return np.repeat(np.arange(len(self.grades)), [len(products) for products in self.grades.values()])

    @property
    def relevant(self) -> Flags:
        """The relevant pairs: those graded in the upper half of the range."""
        return self.labels >= GOOD

    def calibration(self, logits: Logits, method: Method, some: Flags | slice = slice(None)) -> Calibration:
        """Fitted to the logits, shape (n,), of all pairs or some.

        Platt's weights are fitted to the grades, which carry more of the order. The knots bend what comes out of that
        to the share of pairs that is relevant.
        """
        inputs = logits[some], self.similarities[some]
        calibration = calibrate(self.labels[some], *inputs)
        if method == "platt":
            return calibration
        return replace(
            calibration, knots=isotonic_knots(calibration.probabilities(*inputs), self.relevant[some].astype(float))
        )

    def held_out(self, logits: Logits, method: Method) -> Pairs | None:
        """Probabilities of each pair by a calibration that saw no pair of its query; None of a single query."""
        chances = np.empty(len(self.labels))
        if len(self.grades) < 2:
            return None
        for fold in folds(self.queries):
            calibration = self.calibration(logits, method, ~fold)
            chances[fold] = calibration.probabilities(logits[fold], self.similarities[fold])
        return Pairs(self.queries, chances, self.relevant)

    def uncalibrated(self, logits: Logits) -> Pairs:
        """The probabilities by the uncalibrated logits."""
        chances = _UNCALIBRATED.probabilities(logits, self.similarities).astype(np.float64)
        return Pairs(self.queries, chances, self.relevant)


@dataclass(frozen=True)
class RankingValidation:
    """Validation as in serving: the judged pairs, and beside them retrieved pairs without a judgment."""

    judged: Validation
    others: list[tuple[str, str]]
    similarities: NDArray[np.float32]

    @classmethod
    def from_examples(cls, judged: Validation, examples: Examples) -> "RankingValidation":
        """Takes the first few retrieved products of each query, but none that is judged or has no text."""
        texts, valid = examples.texts, examples.valid.queries
        others = [
            (query, texts[name])
            for query in judged.grades
            for name in examples.retrieved.get(query, ())[:BESIDE]
            if name in texts and name not in valid[query]
        ]
        similarity = examples.similarity or no_similarity
        values = similarity([query for query, _ in others], [text for _, text in others]) if others else np.zeros(0)
        return cls(judged, others, values.astype(np.float32))

    @property
    def counts(self) -> dict[str, int]:
        """The counts for the report."""
        counts = {"valid_queries": len(self.judged.grades), "valid_judgments": len(self.judged.pairs)}
        return counts | {"valid_unjudged": len(self.others)}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs: the judged ones, then the others."""
        return [*self.judged.pairs, *self.others]

    def ndcg(self, logits: Logits) -> float:
        """Mean nDCG@10 of all products of each query in the order that the logits of all pairs, shape (n,), give.

        Unjudged products gain nothing. The score is calibrated on the judged pairs, as in the export.
        """
        count = len(self.judged.pairs)
        calibration = self.judged.calibration(logits[:count], "platt")
        names = [name for products in self.judged.grades.values() for name in products]
        rows = [(query, name) for (query, _), name in zip(self.judged.pairs, names, strict=True)]
        rows += [(query, f"unjudged {place}") for place, (query, _) in enumerate(self.others)]
        evidence = calibration.evidence(logits, np.concatenate([self.judged.similarities, self.similarities]))
        rankings: dict[str, list[str]] = {query: [] for query in self.judged.grades}
        for place in np.argsort(-evidence, kind="stable"):
            query, name = rows[place]
            rankings[query].append(name)
        return float(np.mean(list(pool_ndcg(self.judged.grades, rankings, 0.0).values())))


def folds(groups: NDArray[np.int64]) -> Iterator[Flags]:
    """Folds of n rows, as flags of shape (n,), that split no group."""
    for _, places in GroupKFold(min(_FOLDS, len(np.unique(groups)))).split(groups, groups=groups):
        flags = np.zeros(len(groups), bool)
        flags[places] = True
        yield flags


def calibration_report(validation: Validation, logits: Logits) -> dict[str, dict[str, float] | None]:
    """The errors of each calibration's probabilities of pairs that it was not fitted to, and of the logits' alone."""
    probabilities = {"none": validation.uncalibrated(logits)} | {
        method: validation.held_out(logits, method) for method in ("platt", "isotonic")
    }
    return {method: errors(pairs) if pairs else None for method, pairs in probabilities.items()}


def errors(pairs: Pairs) -> dict[str, float]:
    """Expected calibration error, and the mean square of chance less outcome (Brier, 1950)."""
    brier = float(np.mean((pairs.probabilities - pairs.relevant) ** 2))
    return {"expected_calibration_error": calibration_error(pairs).mean, "brier": brier}


def reliability_report(pairs: Pairs) -> dict[str, Any]:
    """Bins of equally many pairs: their mean probability, the share that is relevant and its 95% interval."""
    bins = [
        {"pairs": entry.pairs, "probability": entry.probability, "relevant": entry.relevant.mean}
        | {"low": entry.relevant.low, "high": entry.relevant.high}
        for entry in reliability(pairs)
    ]
    return {"bins": bins, **errors(pairs)}
