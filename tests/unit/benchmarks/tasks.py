"""A small task for programs, and a run as they tell it."""

from pathlib import Path
from typing import Any

from benchmarks.peers.programs.loop import Task


def task(folder: Path) -> Task:
    return Task(
        texts=["0", "1", "2", "3"],
        queries=[f"q{number}" for number in range(5)],
        encoder="",
        ranker="",
        vectors=str(folder / "vectors.npy"),
        candidates=12,
        depth=3,
        sample=[2, 0],
        rounds=3,
        seconds=0.02,
        clients=[1, 2],
        answered=4,
    )


def run(clients: int, depth: int = 32, **more: Any) -> dict[str, Any]:
    times = [100.0, 200.0, 300.0, 400.0]
    return {"depth": depth, "clients": clients, "seconds": 2.0, "processor_seconds": 3.0, "times_ms": times, **more}
