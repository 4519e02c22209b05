"""What each tenant may call."""

import pytest

from retrieval.server.identity.key_file import Tenant
from retrieval.server.identity.limits import OverQuota, TenantLimits


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def taken(limits: TenantLimits, name: str, tenant: Tenant, times: int) -> int:
    """How many of so many calls were let in."""
    count = 0
    for _ in range(times):
        try:
            limits.take(name, tenant)
            count += 1
        except OverQuota:
            pass
    return count


def test_a_tenant_has_its_burst_and_then_its_rate() -> None:
    clock, tenant = Clock(), Tenant(calls_per_second=10, burst=25)
    limits = TenantLimits(1, clock)
    assert taken(limits, "a", tenant, 100) == 25
    clock.now += 1
    assert taken(limits, "a", tenant, 100) == 10
    clock.now += 100
    assert taken(limits, "a", tenant, 100) == 25


def test_a_refusal_states_when_the_next_call_may_come() -> None:
    clock, tenant = Clock(), Tenant(calls_per_second=4, burst=1)
    limits = TenantLimits(1, clock)
    limits.take("a", tenant)
    with pytest.raises(OverQuota) as error:
        limits.take("a", tenant)
    assert error.value.retry_after == 0.25 and not error.value.hopeless
    clock.now += error.value.retry_after
    limits.take("a", tenant)


def test_one_tenant_takes_nothing_from_another() -> None:
    limits, tenant = TenantLimits(1, Clock()), Tenant(calls_per_second=5)
    assert taken(limits, "a", tenant, 50) == 5 and taken(limits, "b", tenant, 50) == 5
    assert taken(limits, "c", Tenant(), 50) == 50


def test_a_day_has_so_many_calls_and_the_next_as_many_again() -> None:
    wall = Clock(86_400.0 * 20_000 + 86_000)
    limits, tenant = TenantLimits(1, Clock(), wall), Tenant(calls_per_day=3)
    assert taken(limits, "a", tenant, 10) == 3
    with pytest.raises(OverQuota, match="00:00 UTC") as error:
        limits.take("a", tenant)
    assert error.value.retry_after == 400 and error.value.hopeless
    wall.now += 400
    assert taken(limits, "a", tenant, 10) == 3


def test_calls_over_the_rate_do_not_count_for_the_day() -> None:
    clock = Clock()
    limits, tenant = TenantLimits(1, clock, Clock(0)), Tenant(calls_per_second=1, calls_per_day=3)
    for _ in range(5):
        taken(limits, "a", tenant, 10)
        clock.now += 1
    with pytest.raises(OverQuota, match="day"):
        limits.take("a", tenant)
    assert limits._usage["a"].calls == 3


def test_a_call_that_found_no_place_is_none_of_the_days_but_was_load() -> None:
    limits, tenant = TenantLimits(1, Clock(), Clock(0)), Tenant(calls_per_second=4, calls_per_day=3)
    limits.give_back("a")  # of nobody who called
    assert taken(limits, "a", tenant, 2) == 2
    limits.give_back("a")
    limits.give_back("b")
    assert taken(limits, "a", tenant, 1) == 1
    assert limits._usage["a"].calls == 2
    assert taken(limits, "a", tenant, 5) == 1
    for _ in range(5):
        limits.give_back("a")
    assert limits._usage["a"].calls == 0 and taken(limits, "a", tenant, 1) == 0


def test_each_of_several_processes_has_its_share() -> None:
    tenant = Tenant(calls_per_second=100, burst=40, calls_per_day=20)
    assert taken(TenantLimits(1 / 4, Clock()), "a", tenant.model_copy(update={"calls_per_day": 0}), 100) == 10
    assert taken(TenantLimits(1 / 4, Clock(), Clock()), "a", tenant, 100) == 5
    assert taken(TenantLimits(1 / 4, Clock()), "a", Tenant(calls_per_second=1), 100) == 1, "one at least, or none ever"


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    clock, tenant = Clock(100), Tenant(calls_per_second=10, burst=10)
    limits = TenantLimits(1, clock)
    assert taken(limits, "a", tenant, 5) == 5
    clock.now = 0
    assert taken(limits, "a", tenant, 100) == 5


def test_made_up_tenants_take_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.server.identity.limits._MOST_TENANTS", 8)
    limits = TenantLimits(1, Clock())
    for number in range(50):
        limits.take(f"tenant-{number}", Tenant(calls_per_second=1))
    assert len(limits._usage) == 8
