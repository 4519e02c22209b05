"""Compares a compressed model with its teacher in one run: bytes, time, ranking and agreement."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder.bi_encoder import BiEncoder
from engine.onnx.session import OnnxModel, length_batches
from evaluation.comparison import paired
from evaluation.measures import CUTOFF, Grades, pool_ndcg
from ranker.ranker import Ranker
from ranker.train.calibrate import calibrate
from training.examples import PairValues

Tokens = Sequence[NDArray[np.int32]]
# Token ids and segment ids of n sequences to vectors, shape (n, d), or logits, shape (n,), on one thread.
Run = Callable[[Tokens, Tokens | None], NDArray[np.float32]]
# As long as one is timed, the others wait: so few that a slow moment of the machine meets all of them alike.
_TIMED = 128


@dataclass(frozen=True, slots=True)
class TrialPart:
    """One model of a subject: what it reads, and how it is run. Alone means one by one, as queries come."""

    tokens: Tokens
    segments: Tokens | None
    run: Run
    alone: bool = False

    def batches(self, count: int | None = None) -> list[NDArray[np.int64]]:
        """Places in `tokens`, of the first `count` or of all."""
        tokens = self.tokens[:count]
        if self.alone:
            return list(np.arange(len(tokens))[:, None])
        return length_batches([len(sequence) for sequence in tokens])

    def answers(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """The answers at these places, in their order."""
        segments = None if self.segments is None else [self.segments[place] for place in places]
        return self.run([self.tokens[place] for place in places], segments)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under trial: its parts by what they read (pair; query, item), and its files' bytes."""

    parts: Mapping[str, TrialPart]
    bytes: int


Answers = Mapping[str, NDArray[np.float32]]


class Trial(Protocol):
    """Judged queries that subjects answer."""

    def per_query(self, answers: Answers) -> dict[str, float]:
        """nDCG@10 of each query, from all answers of each part."""
        ...

    def closeness(self, answers: Answers, others: Answers) -> float:
        """The agreement of two subjects' answers, 1 at most."""
        ...


class RankerTrial:
    """Judged pools that a cross-encoder orders, calibrated anew with the towers' similarity as in training."""

    def __init__(self, grades: Grades, texts: Mapping[str, str], similarity: PairValues) -> None:
        self._grades = grades
        self._pairs = [(query, texts[product]) for query, products in grades.items() for product in products]
        self._similarities = similarity([query for query, _ in self._pairs], [text for _, text in self._pairs])

    def subject(self, folder: Path, model: Path | None = None, load: Callable[[Path], Any] = OnnxModel) -> Subject:
        """The cross-encoder of a folder, or `model` in the place of its own. Raises ModelError."""
        ranker = Ranker.open(folder)
        tokens, segments = zip(*ranker.pack_pairs(self._pairs), strict=True)
        run = load(model or ranker.model_path).run
        return Subject({"pair": TrialPart(tokens, segments, run)}, _bytes(ranker.files(), ranker.model_path, model))

    def per_query(self, answers: Answers) -> dict[str, float]:
        """See `Trial`."""
        labels = np.array([grade for products in self._grades.values() for grade in products.values()])
        logits = answers["pair"]
        evidence = calibrate(labels, logits, self._similarities).evidence(logits, self._similarities)
        ends = np.cumsum([len(products) for products in self._grades.values()])
        rankings = {
            query: [list(products)[place] for place in np.argsort(-part, kind="stable")]
            for (query, products), part in zip(self._grades.items(), np.split(evidence, ends[:-1]), strict=True)
        }
        return pool_ndcg(self._grades, rankings, 0.0)

    def closeness(self, answers: Answers, others: Answers) -> float:
        """The logits' correlation."""
        return float(np.corrcoef(answers["pair"], others["pair"])[0, 1])


class TowerTrial:
    """Judged queries that towers search a shelf of products for; see `encoder.train.finetune.validate`."""

    def __init__(self, grades: Grades, shelf: Mapping[str, str]) -> None:
        self._grades, self._shelf = grades, shelf

    def subject(self, folder: Path, model: Path | None = None, load: Callable[[Path], Any] = OnnxModel) -> Subject:
        """The towers of a folder, or `model` in the place of both of its own. Raises ModelError."""
        tower = BiEncoder.open(folder)
        sides: tuple[Literal["query"], Literal["item"]] = ("query", "item")
        paths = {side: model or tower.model_path(side) for side in sides}
        loaded = {path: load(path).run for path in set(paths.values())}
        queries, items = tower.tokenize_queries(list(self._grades)), tower.tokenize_items(list(self._shelf.values()))
        parts = {
            "query": TrialPart(queries, None, loaded[paths["query"]], alone=True),
            "item": TrialPart(items, None, loaded[paths["item"]]),
        }
        return Subject(parts, _bytes(tower.files(), tower.model_path("item"), model))

    def per_query(self, answers: Answers) -> dict[str, float]:
        """See `Trial`."""
        best = np.argsort(-(answers["query"] @ answers["item"].T), axis=1, kind="stable")[:, :CUTOFF]
        products = list(self._shelf)
        rankings = {query: [products[row] for row in rows] for query, rows in zip(self._grades, best, strict=True)}
        return pool_ndcg(self._grades, rankings, 0.0)

    def closeness(self, answers: Answers, others: Answers) -> float:
        """The mean cosine of both vectors of a text."""
        return float(np.mean([(answers[part] * others[part]).sum(axis=1).mean() for part in ("query", "item")]))


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a subject costs and keeps. Times are per text or pair, of one thread; `speed` is the baseline's over them.

    `difference` is nDCG@10 less the baseline's, with its 95% interval and the p-value of a paired randomisation test.
    """

    bytes: int
    milliseconds: dict[str, float]
    speed: dict[str, float]
    ndcg: float
    difference: float
    low: float
    high: float
    p: float
    wins: int
    losses: int
    closeness: float

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def line(self) -> str:
        """The row as a line for a terminal."""
        times = ", ".join(f"{t:.2f} ms a {part} (x{self.speed[part]:.2f})" for part, t in self.milliseconds.items())
        return (
            f"{self.bytes / 1e6:.1f} MB, {times}, nDCG@10 {self.ndcg:.3f}, that is {self.difference:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}], p {self.p:.3f}"
        )


def compare_subjects(
    trial: Trial, subjects: Mapping[str, Subject], baseline: str, repeats: int = 5
) -> dict[str, TrialResult]:
    """A row for each subject, all of them timed in turn."""
    answers = {name: _answers(subject) for name, subject in subjects.items()}
    per_query = {name: trial.per_query(comparison) for name, comparison in answers.items()}
    times = _times(subjects, repeats)
    result = {}
    for name, subject in subjects.items():
        comparison = paired(per_query[baseline], per_query[name])
        result[name] = TrialResult(
            bytes=subject.bytes,
            milliseconds=times[name],
            speed={part: times[baseline][part] / value for part, value in times[name].items()},
            ndcg=comparison.b,
            difference=comparison.difference.mean,
            low=comparison.difference.low,
            high=comparison.difference.high,
            p=comparison.p,
            wins=comparison.wins,
            losses=comparison.losses,
            closeness=trial.closeness(answers[name], answers[baseline]),
        )
    return result


def _answers(subject: Subject) -> dict[str, NDArray[np.float32]]:
    result = {}
    for kind, part in subject.parts.items():
        batches = part.batches()
        order = np.argsort(np.concatenate(batches))
        result[kind] = np.concatenate([part.answers(batch) for batch in batches])[order]
    return result


def _times(subjects: Mapping[str, Subject], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds for each text or pair: the least of all repeats, as other work on the machine only adds to it."""
    times: dict[str, dict[str, float]] = {name: {} for name in subjects}
    for _ in range(repeats):
        for name, subject in subjects.items():
            for kind, part in subject.parts.items():
                batches = part.batches(_TIMED)
                start = time.perf_counter()
                for batch in batches:
                    part.answers(batch)
                taken = (time.perf_counter() - start) * 1000 / sum(map(len, batches))
                times[name][kind] = min(times[name].get(kind, taken), taken)
    return times


def _bytes(files: Sequence[Path], own: Path, other: Path | None) -> int:
    """The bytes of a release's files, with another model in place of its own."""
    counted = [path for path in files if other is None or path.suffix != own.suffix] + ([other] if other else [])
    return sum(path.stat().st_size for path in counted)
