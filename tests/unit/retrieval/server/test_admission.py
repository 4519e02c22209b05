import random

import pytest

from retrieval.server.admission import Admission, Overloaded, Permit


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """And no delay differs from another by chance."""
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    return Clock()


def run(admission: Admission, clock: Clock, seconds: float) -> None:
    with admission.enter():
        clock.now += seconds


def taken(admission: Admission) -> Permit:
    permit = admission.take()
    assert permit is not None
    return permit


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


def test_a_place_is_given_back_after_an_error_and_only_once() -> None:
    admission = Admission(2)
    with pytest.raises(KeyError), admission.enter():
        raise KeyError
    permit, other = taken(admission), taken(admission)
    permit.release()
    permit.release()
    assert admission.in_flight == 1 and taken(admission)
    other.release()
    assert admission.in_flight == 1


def test_a_place_is_left_where_nobody_has_begun_and_kept_where_someone_has() -> None:
    admission = Admission(2)
    unused, used = taken(admission), taken(admission)
    used.in_use = True
    unused.release_unused()
    used.release_unused()
    assert admission.in_flight == 1


def test_the_delay_is_what_a_request_took_when_the_service_was_warmed(clock: Clock) -> None:
    assert Admission(1, 1.5, clock).refusal().retry_after == 1.5


def test_the_delay_follows_the_time_that_requests_take(clock: Clock) -> None:
    admission = Admission(1, 0.2, clock)
    run(admission, clock, 1.2)
    assert admission.refusal().retry_after == pytest.approx(0.3)  # 0.2 + 0.1 * (1.2 - 0.2)
    assert "300 ms" in str(admission.refusal())


def test_sending_an_answer_is_no_part_of_what_a_request_takes(clock: Clock) -> None:
    admission = Admission(1, 0.2, clock)
    permit = taken(admission)
    clock.now += 1.2
    permit.start_sending(lambda: None)
    clock.now += 50
    permit.release()
    assert admission.refusal().retry_after == pytest.approx(0.3)


def test_the_delay_grows_with_the_refused_for_each_that_is_let_in(clock: Clock) -> None:
    admission = Admission(2, 0.1, clock)
    taken(admission), taken(admission)
    for _ in range(2):
        assert admission.take() is None
    assert admission.refusal().retry_after == pytest.approx(0.2) and not admission.refusal().hopeless
    for _ in range(4):
        assert admission.take() is None
    assert admission.refusal().retry_after == pytest.approx(0.4) and admission.refusal().hopeless
    clock.now += 60  # what was long ago no longer counts
    assert admission.refusal().retry_after == pytest.approx(0.1) and not admission.refusal().hopeless


def test_the_delay_stays_within_bounds(clock: Clock) -> None:
    assert Admission(1, 60.0, clock).refusal().retry_after == 5.0
    assert Admission(1, 0.0, clock).refusal().retry_after == 0.01


def test_refused_callers_come_back_at_different_times() -> None:
    admission = Admission(1, 1.0)
    delays = {admission.refusal().retry_after for _ in range(20)}
    assert len(delays) > 10 and min(delays) >= 0.75 and max(delays) <= 1.25


def test_who_has_its_answer_finds_a_place_before_it_is_noted_as_sent() -> None:
    admission = Admission(1)
    taken(admission).start_sending(lambda: None)
    assert taken(admission) and admission.in_flight == 2


def test_the_answer_that_has_been_sent_longest_gives_way(clock: Clock) -> None:
    admission = Admission(1, 0.1, clock)
    given_up: list[str] = []
    first = taken(admission)
    first.start_sending(lambda: given_up.append("first"))
    clock.now += 0.2
    taken(admission).start_sending(lambda: given_up.append("second"))
    assert admission.take() is None and not given_up  # neither has had a quarter of a second
    clock.now += 0.1
    taken(admission)
    assert given_up == ["first"] and admission.in_flight == 2  # one at work, and the second answer
    assert admission.take() is None
    first.release()  # as it does when its call has ended
    assert admission.in_flight == 2


def test_what_takes_too_long_to_be_sent_is_given_up(clock: Clock) -> None:
    admission = Admission(3, 0.1, clock)
    given_up: list[str] = []
    for name in ("first", "second"):
        taken(admission).start_sending(lambda name=name: given_up.append(name))
        clock.now += 3
    taken(admission)  # at work, and not to be ended
    admission.cancel_sending(5)
    assert given_up == ["first"]
