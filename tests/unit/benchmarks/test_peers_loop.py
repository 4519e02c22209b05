"""What a peer's program is asked, with a program that counts."""

import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tasks import task

from benchmarks.peers.programs.loop import KEPT, QueryRunner, Task, measure


class Counting:
    """Answers the query `q<n>` with rows n, n + 1, ...; text number i lies on axis i of four."""

    packages: tuple[str, ...] = ("numpy",)

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.order: list[str] = []
        self.embedded: list[int] = []
        self.built: NDArray[np.float32] | None = None
        self.threads: set[int] = set()

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        self.embedded.append(len(texts))
        return np.eye(4, dtype=np.float32)[[int(text) for text in texts]]

    def build(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        self.built = vectors

    def search(self, query: str, k: int, depth: int) -> list[int]:
        self.counts[query, depth] += 1
        self.order.append(query)
        self.threads.add(threading.get_ident())
        return list(range(int(query[1:]), int(query[1:]) + k))


def test_queries_are_asked_in_order_and_again_from_the_first(tmp_path: Path) -> None:
    program = Counting()
    run = QueryRunner(program, task(tmp_path), 3, warm=0.0).run_clients(1)
    assert program.order[:7] == ["q0", "q1", "q2", "q3", "q4", "q0", "q1"]
    assert len(run["times_ms"]) == len(program.order)
    assert (run["depth"], run["clients"]) == (3, 1) and run["seconds"] >= 0.02


def test_calls_of_the_warm_up_do_not_count(tmp_path: Path) -> None:
    program = Counting()
    run = QueryRunner(program, replace(task(tmp_path), seconds=0.0), 3, warm=0.02).run_clients(1)
    assert program.order and run["times_ms"] == []


def test_so_many_clients_ask(tmp_path: Path) -> None:
    program = Counting()
    together = threading.Barrier(3, timeout=10)
    search = program.search

    def waiting(query: str, k: int, depth: int) -> list[int]:
        if len(program.threads) < 3:
            program.threads.add(threading.get_ident())
            together.wait()
        return search(query, k, depth)

    program.search = waiting  # type: ignore[method-assign]
    QueryRunner(program, task(tmp_path), 3, warm=0.0).run_clients(3)
    assert len(program.threads) == 3


def test_what_nobody_had_time_to_ask_is_answered_in_the_end(tmp_path: Path) -> None:
    program = Counting()
    runner = QueryRunner(program, replace(task(tmp_path), seconds=0.0), 3, warm=0.0)
    runner.run_clients(1)
    assert runner.answers() == [list(range(number, number + KEPT)) for number in range(4)]
    assert program.counts == {(f"q{number}", 3): 1 for number in range(4)}
    runner.answers()
    assert program.counts["q0", 3] == 1, "answers that are known are not asked for again"


def test_a_search_that_fails_ends_the_program(tmp_path: Path) -> None:
    program = Counting()
    program.search = lambda query, k, depth: [][1]  # type: ignore[method-assign]
    with pytest.raises(IndexError):
        QueryRunner(program, task(tmp_path), 3, warm=0.0).run_clients(2)


def test_each_number_of_clients_asks_at_each_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.programs.loop.WARM_SECONDS", 0.0)
    program = Counting()
    seen = measure(program, task(tmp_path))
    assert [(run["depth"], run["clients"]) for run in seen["runs"]] == [(3, 1), (3, 2), (0, 1), (0, 2)]
    assert seen["answers"]["3"] == seen["answers"]["0"] == [list(range(n, n + KEPT)) for n in range(4)]
    assert len(seen["embedding"]["products_per_s"]) == 3
    assert seen["versions"] == {"numpy": np.__version__} and seen["peak_mib"] > 1


def test_all_search_the_vectors_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.programs.loop.WARM_SECONDS", 0.0)
    first, second = Counting(), Counting()
    second.embed = lambda texts: np.full((len(texts), 4), 0.5, np.float32)  # type: ignore[method-assign]
    assert measure(first, task(tmp_path))["embedding"]["mean_cosine"] == 1.0
    assert first.embedded[-1] == 4
    assert measure(second, task(tmp_path))["embedding"]["mean_cosine"] == 0.5
    assert second.built is not None and np.array_equal(second.built, np.eye(4))


def test_a_task_is_written_as_it_is_read(tmp_path: Path) -> None:
    task(tmp_path).write(tmp_path / "task.json")
    assert Task(**json.loads((tmp_path / "task.json").read_text())) == task(tmp_path)
