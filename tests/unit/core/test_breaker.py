"""A breaker by a clock that tests turn."""

from contextlib import ExitStack

import pytest

from core.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(patience=0.5, pause=1.0, clock=clock)


def fail(breaker: Breaker) -> None:
    with pytest.raises(OSError), breaker.watching():
        raise OSError


def succeed(breaker: Breaker) -> None:
    with breaker.watching():
        pass


def test_two_failures_in_a_row_open_it_and_one_does_not(breaker: Breaker) -> None:
    fail(breaker)
    succeed(breaker)
    fail(breaker)
    assert breaker.admits()
    fail(breaker)
    assert not breaker.admits()


def test_an_open_one_lets_one_call_through_in_each_pause_and_closes_with_its_answer(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.trip()
    assert not breaker.admits()
    clock.now += 1
    assert breaker.admits() and not breaker.admits()
    fail(breaker)
    assert not breaker.admits()
    clock.now += 1
    assert breaker.admits()
    succeed(breaker)
    assert breaker.admits() and breaker.admits()


def test_silence_opens_it_whoever_still_waits_for_the_answer(breaker: Breaker, clock: Clock) -> None:
    with breaker.watching():
        clock.now += 0.4
        assert breaker.admits()
        clock.now += 0.2
        assert not breaker.admits()


def test_an_answer_that_comes_too_late_closes_nothing(breaker: Breaker, clock: Clock) -> None:
    with breaker.watching():
        clock.now += 0.6
        assert not breaker.admits()
    assert not breaker.admits()


def test_what_still_waits_from_before_an_answer_opens_it_no_more(breaker: Breaker, clock: Clock) -> None:
    with ExitStack() as stack:
        stack.enter_context(breaker.watching())
        clock.now += 0.6
        assert not breaker.admits()
        clock.now += 1
        assert breaker.admits()
        succeed(breaker)
        clock.now += 5
        assert breaker.admits()
