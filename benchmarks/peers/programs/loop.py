"""What all peer programs share: reading the task, embedding, querying in a closed loop, and writing the report.

It runs in each peer's own environment, so it needs numpy and the standard library alone. A program is started as
`python -m benchmarks.peers.programs.<name> task.json seen.json`.
"""

import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

WARM_SECONDS = 2.0
KEPT = 10  # places of a ranking that are compared


@dataclass(frozen=True, slots=True)
class Task:
    """The work of every program.

    `encoder` and `ranker` are folders of fp32 weights; `vectors` is the file of all texts' unit vectors, shape (n, d),
    which is made by the first program that does not find it. Rates of embedding are of `sample` texts, `rounds` times.
    Each number of `clients` sends queries for `seconds`, once rescoring `depth` of `candidates` and once none; the
    first `answered` queries are answered in any case, for their quality.
    """

    texts: list[str]
    queries: list[str]
    encoder: str
    ranker: str
    vectors: str
    candidates: int
    depth: int
    sample: list[int]
    rounds: int
    seconds: float
    clients: list[int]
    answered: int

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False))


class Program(Protocol):
    """A peer, as its users would write it. `packages` are those whose versions are reported."""

    packages: tuple[str, ...]

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (n, d)."""
        ...

    def build(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        """Makes the texts searchable by their vectors."""
        ...

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """Rows of the best k texts, the first `depth` of them in the cross-encoder's order."""
        ...


def main(make: Callable[[Task], Program]) -> None:
    """Does the task in the file of the first argument and writes the report to that of the second."""
    start = time.monotonic()
    task = Task(**json.loads(Path(sys.argv[1]).read_text()))
    program = make(task)
    report = {"load_seconds": round(time.monotonic() - start, 2), **measure(program, task)}
    Path(sys.argv[2]).write_text(json.dumps(report))


def measure(program: Program, task: Task) -> dict[str, Any]:
    """The report of a program, as JSON."""
    rates, cosine = _embed(program, task)
    start = time.monotonic()
    program.build(task.texts, np.load(task.vectors))
    build_seconds = time.monotonic() - start
    runs, answers = [], {}
    for depth in (task.depth, 0):
        runner = QueryRunner(program, task, depth)
        runs += [runner.run_clients(clients) for clients in task.clients]
        answers[str(depth)] = runner.answers()
    return {
        "versions": {package: version(package) for package in program.packages},
        "embedding": {"products_per_s": rates, "mean_cosine": cosine},
        "build_seconds": round(build_seconds, 2),
        "runs": runs,
        "answers": answers,
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _embed(program: Program, task: Task) -> tuple[list[float], float]:
    """Texts embedded a second in each round, and how near the vectors are to those all programs search."""
    texts = [task.texts[row] for row in task.sample]
    program.embed(texts[:64])  # the first batch includes one-time work
    rates, vectors = [], np.empty(0, np.float32)
    for _ in range(task.rounds):
        start = time.monotonic()
        vectors = program.embed(texts)
        rates.append(round(len(texts) / (time.monotonic() - start), 1))
    file = Path(task.vectors)
    if not file.is_file():
        scratch = file.with_suffix(".part.npy")  # a run that is stopped leaves no half of it
        np.save(scratch, program.embed(task.texts).astype(np.float32))
        scratch.rename(file)
    expected = np.load(file, mmap_mode="r")[task.sample]
    return rates, round(float((vectors * expected).sum(axis=1).mean()), 4)


class QueryRunner:
    """Sends queries to a program at one depth and keeps its answers."""

    def __init__(self, program: Program, task: Task, depth: int, warm: float = WARM_SECONDS) -> None:
        self._program, self._task, self._depth, self._warm = program, task, depth, warm
        self._answers: dict[int, list[int]] = {}

    def run_clients(self, clients: int) -> dict[str, Any]:
        """Clients send queries without pause, each waiting for its answer, together the same queries in the same order.

        Returns each call's milliseconds, the total time, and the processor's seconds meanwhile. Calls of the warm-up,
        which sends the same first queries, do not count.
        """
        self._ask(clients, self._warm)
        start, used = time.monotonic(), time.process_time()
        times = self._ask(clients, self._task.seconds)
        return {
            "depth": self._depth,
            "clients": clients,
            "seconds": round(time.monotonic() - start, 3),
            "processor_seconds": round(time.process_time() - used, 3),
            "times_ms": times,
        }

    def answers(self) -> list[list[int]]:
        """The best rows of each of the first queries; queries without an answer are sent now."""
        for number in range(self._task.answered):
            if number not in self._answers:
                self._answer(number)
        return [self._answers[number] for number in range(self._task.answered)]

    def _ask(self, clients: int, seconds: float) -> list[float]:
        numbers, times = itertools.count(), list[float]()
        until = time.monotonic() + seconds

        def client() -> None:
            while (begun := time.monotonic()) < until:
                self._answer(next(numbers) % len(self._task.queries))
                times.append(round((time.monotonic() - begun) * 1000, 3))

        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(client) for _ in range(clients)]:
                done.result()
        return times

    def _answer(self, number: int) -> None:
        rows = self._program.search(self._task.queries[number], self._task.candidates, self._depth)
        self._answers[number] = rows[:KEPT]
