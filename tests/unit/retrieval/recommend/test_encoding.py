import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from encoder.users.tower import History
from engine.protocol import EngineError, Vectors
from retrieval.recommend.encoding import HistoryEncoder


class SlowTower:
    """A vector is the age of the history's first product; each run waits until it may go on."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.started, self.go_on = threading.Event(), threading.Event()
        self.broken = False

    def vectors(self, histories: Sequence[History]) -> Vectors:
        self.runs.append(len(histories))
        self.started.set()
        assert self.go_on.wait(10)
        if self.broken:
            raise RuntimeError("secret")
        return np.array([history.age_days[:1] for history in histories], np.float32)


def history(age: float) -> History:
    return History(np.zeros((1, 4), np.float32), np.array([age], np.float32))


async def test_what_comes_while_the_tower_runs_shares_the_next_run_and_each_gets_its_own_vector() -> None:
    tower = SlowTower()
    encoder = HistoryEncoder(tower)  # type: ignore[arg-type]
    first = asyncio.ensure_future(encoder.encode(history(1)))
    await asyncio.to_thread(tower.started.wait, 10)
    others = [asyncio.ensure_future(encoder.encode(history(age))) for age in range(2, 42)]
    await asyncio.sleep(0)
    others[4].cancel()
    tower.go_on.set()
    vectors = await asyncio.gather(first, *(one for place, one in enumerate(others) if place != 4))
    assert [vector.tolist() for vector in vectors] == [[float(age)] for age in range(1, 42) if age != 6]
    assert tower.runs == [1, 31, 8]  # 32 at a time, without the one whose caller has gone


async def test_a_failure_is_of_its_run_alone() -> None:
    tower = SlowTower()
    tower.go_on.set()
    tower.broken = True
    encoder = HistoryEncoder(tower)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="RuntimeError") as error:
        await encoder.encode(history(1))
    assert "secret" not in str(error.value)
    tower.broken = False
    assert (await encoder.encode(history(2))).tolist() == [2.0]


async def test_a_vector_without_a_direction_is_an_error_for_its_own_history() -> None:
    tower = SlowTower()
    tower.go_on.set()
    encoder = HistoryEncoder(tower)  # type: ignore[arg-type]
    given = [encoder.encode(history(age)) for age in (1, float("nan"), 0, 2)]
    sound, nan, zero, last = await asyncio.gather(*given, return_exceptions=True)
    assert isinstance(nan, EngineError) and isinstance(zero, EngineError)
    assert not isinstance(sound, BaseException) and sound.tolist() == [1.0]
    assert not isinstance(last, BaseException) and last.tolist() == [2.0]
