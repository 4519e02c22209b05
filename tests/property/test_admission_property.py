"""Whatever callers do, and whenever: the limit stays between its bounds, no place is lost, and all come back."""

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from retrieval.server.admission import Admission, Permit
from retrieval.server.caller import Priority


class Admitting(RuleBasedStateMachine):
    """An admission beside a plain account of who holds what."""

    @initialize(
        ceiling=st.integers(1, 12),
        floor=st.integers(1, 12),
        objective=st.sampled_from([0.01, 0.3, 5.0]),
    )
    def start(self, ceiling: int, floor: int, objective: float) -> None:
        self.now = 100.0
        self.ceiling, self.floor = ceiling, min(floor, ceiling)
        self.admission = Admission(ceiling, 0.05, lambda: self.now, floor, objective)
        self.working: list[Permit] = []
        self.sending: list[Permit] = []
        self.bulk: list[Permit] = []

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(priority=st.sampled_from(Priority), count=st.integers(1, 30))
    def take(self, priority: Priority, count: int) -> None:
        for _ in range(count):
            limit, working = self.admission.limit, len(self.working)
            permit = self.admission.take(priority)
            if permit is not None:
                assert working < max(limit, self.admission.limit)
                self.working.append(permit)
            elif len(self.sending) < 2 * self.ceiling:
                assert working >= (limit if priority is Priority.INTERACTIVE else limit / 2) and working

    @precondition(lambda self: self.working)
    @rule(place=st.integers(0, 100), answered=st.booleans())
    def finish(self, place: int, answered: bool) -> None:
        permit = self.working.pop(place % len(self.working))
        self.sending.append(permit)

        def give_up() -> None:  # and the call ends, as calls do
            self.sending.remove(permit)
            permit.release()

        permit.start_sending(give_up, answered)

    @precondition(lambda self: self.working or self.sending or self.bulk)
    @rule(place=st.integers(0, 100), times=st.integers(1, 3))
    def release(self, place: int, times: int) -> None:
        holders = [entries for entries in (self.working, self.sending, self.bulk) if entries]
        entries = holders[place % len(holders)]
        permit = entries.pop(place % len(entries))
        for _ in range(times):
            permit.release()

    @rule()
    def take_bulk(self) -> None:
        permit = self.admission.take_bulk()
        if permit is not None:
            self.bulk.append(permit)

    @rule(seconds=st.floats(0, 5))
    def sweep(self, seconds: float) -> None:
        self.admission.cancel_sending(seconds)

    @invariant()
    def is_bounded(self) -> None:
        assert self.floor <= self.admission.limit <= self.ceiling
        assert 0 <= self.admission.pressure <= 1
        assert self.admission.in_flight == len(self.working) + len(self.sending)
        assert len(self.working) <= self.ceiling

    def teardown(self) -> None:
        """All leave; the service is as new soon, whatever there was."""
        if not hasattr(self, "admission"):
            return
        for permit in (*self.working, *self.sending, *self.bulk):
            permit.release()
        assert self.admission.in_flight == 0
        for _ in range(400):
            self.now += 0.1
            permit = self.admission.take()
            assert permit is not None
            permit.start_sending(lambda: None)
            permit.release()
        assert self.admission.limit == self.ceiling and self.admission.pressure == 0


def test_the_limit_keeps_its_bounds_and_no_place_is_lost() -> None:
    run_state_machine_as_test(Admitting)
