import time
from contextlib import ExitStack

import pytest

from retrieval.admission import Admission, Overloaded, Permit


class Clock:
    """Stands still until told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run(admission: Admission, clock: Clock, seconds: float) -> None:
    with admission.enter():
        clock.now += seconds


def retry_after(admission: Admission) -> float:
    """The delay told to one more than the admission takes."""
    with ExitStack() as places:
        for _ in range(admission.limit):
            places.enter_context(admission.enter())
        with pytest.raises(Overloaded) as error, admission.enter():
            pass
    return error.value.retry_after


def test_as_many_as_the_limit_come_in_and_no_more() -> None:
    admission = Admission(2)
    with admission.enter() as permit:
        assert isinstance(permit, Permit)
        with admission.enter():
            assert admission.in_flight == 2
            with pytest.raises(Overloaded, match="2 requests are in flight already"), admission.enter():
                pass
            assert admission.in_flight == 2
        with admission.enter():
            pass
    assert admission.in_flight == 0


def test_a_place_is_given_back_after_an_error() -> None:
    admission = Admission(1)
    with pytest.raises(KeyError), admission.enter():
        raise KeyError
    with admission.enter():
        assert admission.in_flight == 1


def test_the_delay_follows_the_mean_time_of_requests(clock: Clock) -> None:
    admission = Admission(1)
    assert retry_after(admission) == pytest.approx(0.01)  # nothing seen: the least
    admission = Admission(1)
    run(admission, clock, 1.0)
    # 0.01 + 0.1 * (1 - 0.01)
    with admission.enter(), pytest.raises(Overloaded) as error, admission.enter():
        pass
    assert error.value.retry_after == pytest.approx(0.109)
    assert "109 ms" in str(error.value)


def test_the_delay_stays_within_bounds(clock: Clock) -> None:
    admission = Admission(1)
    for _ in range(200):
        run(admission, clock, 60.0)
    assert retry_after(admission) == 5.0
    for _ in range(200):
        run(admission, clock, 0.0)
    assert retry_after(admission) == 0.01
