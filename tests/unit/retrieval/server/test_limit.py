"""The limit in virtual time: four servers, work of 22.7 ms on average, so 176 answers a second at best."""

from collections.abc import Callable

import numpy as np
import pytest
from overloads import Load, lognormal

from retrieval.server.admission import Admission
from retrieval.server.limit import ConcurrencyLimit

SERVERS, FLOOR, CEILING, OBJECTIVE = 4, 4, 64, 0.3
WORK = lognormal(0.02, 0.5)
CAPACITY = SERVERS / (0.02 * float(np.exp(0.125)))


def admission(clock: Callable[[], float]) -> Admission:
    return Admission(CEILING, 0.05, clock, FLOOR, OBJECTIVE)


def loaded(factor: float, seconds: float, **others: object) -> Load:
    """So many times what can be answered."""
    chosen = {"rate": lambda _: factor * CAPACITY, "cost": WORK, "servers": lambda _: SERVERS} | others
    return Load(admission, **chosen).run(seconds)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def peak() -> float:
    """Answers a second within the objective, at once what can be answered."""
    return loaded(1, 25).answered(5, 25, OBJECTIVE)


@pytest.mark.parametrize("factor, share", [(2, 0.9), (5, 0.85), (10, 0.8)])
def test_an_overload_leaves_answers_in_good_time(peak: float, factor: float, share: float) -> None:
    load = loaded(factor, 20)
    assert load.answered(5, 20, OBJECTIVE) >= share * peak
    assert load.latency(5, 20) <= OBJECTIVE
    low, high = load.limit_range(10, 20)
    assert high - low <= 0.2 * load.mean_limit(10, 20)


def test_the_limit_follows_a_capacity_that_is_halved_and_doubled_again() -> None:
    load = loaded(2, 75, servers=lambda now: SERVERS // 2 if 25 <= now < 50 else SERVERS)
    whole, half, again = (load.mean_limit(start, start + 15) for start in (10, 35, 60))
    assert half == pytest.approx(whole / 2, rel=0.15) and again == pytest.approx(whole, rel=0.15)
    for start in (10, 35, 60):  # ten seconds after each change
        low, high = load.limit_range(start, start + 15)
        assert high - low <= 0.2 * load.mean_limit(start, start + 15) + 1
        assert load.latency(start, start + 15) <= OBJECTIVE
    assert load.answered(35, 50, OBJECTIVE) >= 0.9 * CAPACITY / 2


def test_an_overload_that_ends_leaves_nothing_behind() -> None:
    load = loaded(1, 50, rate=lambda now: CAPACITY * (10 if 10 <= now < 30 else 0.7))
    assert load.mean_limit(20, 30) < CEILING / 2
    assert not [done for done in load.done if done.at >= 31 and done.seconds is None]
    assert load.answered(35, 50, OBJECTIVE) == pytest.approx(load.answered(0, 10, OBJECTIVE), rel=0.1)
    assert load.mean_limit(49, 50) >= 0.9 * CEILING


@pytest.mark.parametrize("after", [0.5, 2.0])
def test_the_limit_comes_back_from_its_floor(after: float) -> None:
    """Under little load and under much; work takes fifty times as long for a while."""

    def cost(random: np.random.Generator, pressure: float) -> float:
        return WORK(random, pressure) * (50 if 10 <= load.now < 40 else 1)

    load = Load(admission, lambda now: CAPACITY * (after if now > 40 else 2), cost, lambda _: SERVERS)
    load.run(55)
    assert load.limit_range(30, 40) == (FLOOR, FLOOR)
    expected = min(after, 1) * CAPACITY
    assert load.answered(45, 55, OBJECTIVE) >= 0.9 * expected
    assert load.mean_limit(50, 55) >= 17  # 20 where it is full, and on its way to 64 where it is not


def test_a_service_that_hung_comes_back() -> None:
    load = loaded(2, 40, servers=lambda now: 0 if 10 <= now < 20 else SERVERS)
    assert load.answered(25, 40, OBJECTIVE) >= 0.9 * CAPACITY


def test_a_service_that_answers_nothing_lets_few_in() -> None:
    """Whoever is let in then waits in vain."""
    limit = ConcurrencyLimit(2, 20, 1.0)
    for tick in range(100):
        limit.note(tick / 5, 20)
    assert limit.value == 2


@pytest.mark.parametrize("objective", [0.3, 0.0592, 0.0555])  # a mean of 22.5 ms, amid the jitter, and one of 21 ms
def test_jitter_does_not_move_the_limit(objective: float) -> None:
    """Answers take 20 to 25 ms, however many are in flight."""
    load = Load(
        lambda clock: Admission(CEILING, 0.02, clock, FLOOR, objective),
        rate=lambda _: 3500,
        cost=lambda random, _: random.uniform(0.02, 0.025),
        servers=lambda _: 10_000,
    ).run(8)
    assert load.limit_range(0, 8) == (CEILING, CEILING)


def test_dear_requests_among_cheap_ones_do_not_lower_the_limit_of_a_service_that_has_room() -> None:
    """One of ten takes a second, at a third of what could be answered."""

    def cost(random: np.random.Generator, _: float) -> float:
        return 1.0 if random.random() < 0.1 else 0.005

    load = Load(admission, lambda _: 0.33 * SERVERS / 0.1045, cost, lambda _: SERVERS).run(60)
    assert load.limit_range(0, 60) == (CEILING, CEILING)
    assert all(done.seconds is not None for done in load.done)


def test_answers_that_are_cheap_for_a_while_neither_raise_nor_lower_what_is_aimed_at() -> None:
    """As caches fill and are emptied: ten times as cheap from second 20 on, at twice the load at that time."""

    def cheaper(now: float) -> float:
        return 0.1 if 20 <= now < 40 else 1.0

    load = Load(
        admission,
        lambda now: 2 * CAPACITY / cheaper(now),
        lambda random, pressure: WORK(random, pressure) * cheaper(load.now),
        lambda _: SERVERS,
    )
    load.run(60)
    assert load.mean_limit(30, 40) >= 0.9 * CEILING and load.latency(30, 40) <= OBJECTIVE
    assert load.latency(50, 60) <= OBJECTIVE and load.answered(50, 60, OBJECTIVE) >= 0.9 * CAPACITY


def test_calls_that_end_at_once_without_an_answer_say_nothing_of_the_time_that_answers_take() -> None:
    """Else callers who give up after a millisecond would open the door to all."""
    limit = ConcurrencyLimit(2, 20, 1.0)
    for tick in range(200):
        limit.note(tick / 20, 20)
        limit.observe(tick / 20, 2.0)
        for _ in range(50):
            limit.observe(tick / 20, 0.001, answered=False)
    assert limit.value == 2
    limit = ConcurrencyLimit(2, 20, 1.0)
    for tick in range(200):
        limit.note(tick / 20, 20)
        limit.observe(tick / 20, 2.0, answered=False)  # but those that waited for long do
    assert limit.value == 2


def test_a_floor_and_a_ceiling_that_meet_hold_the_limit() -> None:
    limit = ConcurrencyLimit(9, 5, 0.1)
    for tick in range(100):
        limit.note(tick / 10, 5)
        limit.observe(tick / 10, 5.0)
        assert limit.value == 5
