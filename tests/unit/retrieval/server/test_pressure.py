"""Quality goes before answers, and not with every burst."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from overloads import Load, lognormal

from retrieval.server.admission import Admission
from retrieval.server.caller import Priority
from retrieval.server.pressure import STEPS, Pressure

SERVERS, CEILING, OBJECTIVE = 2, 12, 0.6
WORK = lognormal(0.06, 0.5)
CAPACITY = SERVERS / (0.06 * float(np.exp(0.125)))


def admission(clock: Callable[[], float]) -> Admission:
    return Admission(CEILING, 0.1, clock, 4, OBJECTIVE)


def with_quality(random: np.random.Generator, pressure: float) -> float:
    """Most of the work is rescoring, of fewer candidates under pressure."""
    return WORK(random, pressure) * (0.15 + 0.85 * max(0.0, 1 - pressure / 0.8))


def run(factor: float, seconds: float = 40) -> Load:
    return Load(admission, lambda _: factor * CAPACITY, with_quality, lambda _: SERVERS).run(seconds)


def test_at_half_the_load_nothing_is_given_up() -> None:
    load = run(0.5)
    assert all(done.pressure == 0 and done.seconds is not None for done in load.done)


@pytest.mark.parametrize("factor, share", [(1.5, 0.93), (2, 0.9), (4, 0.85)])
def test_quality_is_given_up_before_calls_are_refused(factor: float, share: float) -> None:
    load = run(factor)
    late = [done for done in load.done if done.at >= 10]
    assert sum(done.seconds is not None for done in late) >= share * len(late)
    assert load.latency(10, 40) <= OBJECTIVE
    changes = sum(before != after for (at, before), (_, after) in pairwise(load.pressures) if at >= 10)
    assert changes <= 0.6 * 30  # in thirty seconds; each lasts


def test_more_is_given_up_the_more_is_asked() -> None:
    means = [
        float(np.mean([done.pressure for done in run(factor, 30).done if done.seconds is not None and done.at > 10]))
        for factor in (0.5, 1.2, 2, 4, 10)
    ]
    assert means == sorted(means) and means[0] == 0 and means[-1] > 0.9


def test_quality_comes_back_a_few_seconds_after_an_overload() -> None:
    load = Load(admission, lambda now: CAPACITY * (4 if now < 20 else 0.4), with_quality, lambda _: SERVERS).run(45)
    assert max(pressure for at, pressure in load.pressures if 10 <= at < 20) >= 0.6
    assert all(pressure == 0 for at, pressure in load.pressures if at >= 30)


def test_a_burst_after_a_pause_gives_nothing_up() -> None:
    pressure = Pressure()
    for second in range(0, 60, 2):
        for place in range(12):
            pressure.observe(second + place / 1000, place / 12)
        assert pressure.value == 0


def test_one_caller_after_another_is_no_pressure_even_where_there_is_one_place() -> None:
    now = 0.0
    alone = Admission(1, clock=lambda: now)
    for _ in range(100):
        permit = alone.take()
        assert permit is not None and permit.pressure == 0
        now += 0.1
        permit.release()


def test_steps_go_up_at_once_and_down_one_by_one() -> None:
    pressure = Pressure()
    for tick in range(1, 100):
        pressure.observe(tick / 20, 1.0)
    assert pressure.value == 1
    values = []
    for tick in range(100, 800):
        pressure.observe(tick / 20, 0.0)
        values.append(pressure.value)
    steps = [value for before, value in pairwise([1.0, *values]) if value != before]
    assert steps == [(STEPS - 1 - number) / STEPS for number in range(STEPS)]


def test_batches_are_refused_before_people() -> None:
    """Half of twice what can be answered can wait; without quality to give up."""

    def either(random: np.random.Generator) -> Priority:
        return Priority(int(random.integers(2)))

    load = Load(admission, lambda _: 2 * CAPACITY, WORK, lambda _: SERVERS, either).run(40)
    answered = {
        priority: np.mean([done.seconds is not None for done in load.done if done.priority == priority])
        for priority in Priority
    }
    assert answered[Priority.INTERACTIVE] >= 0.75 and answered[Priority.BATCH] <= 0.4
    alone = Load(admission, lambda _: 0.5 * CAPACITY, WORK, lambda _: SERVERS, lambda _: Priority.BATCH).run(40)
    assert np.mean([done.seconds is not None for done in alone.done]) >= 0.95
