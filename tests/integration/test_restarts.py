"""Services are restarted and processes killed under load: a client with the standard retries sees no call fail."""

import time
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import pytest
from served import Bystander, Served, served
from torture import SCALE, amount

from benchmarks.common import free_address
from core.releases import ReleaseStore

_KILLS_EACH = 6  # of one service: the pause before a process starts again doubles


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.torture
def test_a_rolling_restart_fails_no_call(indexed: ReleaseStore) -> None:
    addresses = [free_address(), free_address()]
    target = f"ipv4:{','.join(addresses)}"
    restarts = 0
    with ExitStack() as stack:
        running = [stack.enter_context(served(indexed, address=address)) for address in addresses]
        callers = [Bystander(target, [("grpc.lb_policy_name", "round_robin")]) for _ in range(4)]
        with ExitStack() as asking:
            for caller in callers:
                asking.enter_context(caller).wait(10)
            for restarts in range(1, amount(2, 50) + 1):
                which = restarts % 2
                running[which].stop()
                running[which] = stack.enter_context(served(indexed, address=addresses[which]))
                until(lambda which=which: connections(running[which]) == len(callers))  # type: ignore[misc]
                for caller in callers:
                    caller.wait(10)
    calls = sum(len(caller.seconds) for caller in callers)
    print(f"{restarts} restarts, {calls} calls")
    assert [failure for caller in callers for failure in caller.failures] == []


def connections(service: Served) -> int:
    """How many clients are connected."""
    port = int(service.address.rpartition(":")[2])
    every = service.process.net_connections("tcp")
    return sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in every)


def workers(service: Served) -> list[psutil.Process]:
    """The processes that accept connections."""
    port = int(service.address.rpartition(":")[2])
    return [child for child in service.process.children() if _listens(child, port)]


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(each.laddr.port == port and each.status == "LISTEN" for each in process.net_connections("tcp"))
    except psutil.Error:
        return False


@pytest.mark.torture
def test_killed_workers_fail_no_call(indexed: ReleaseStore) -> None:
    kills, calls = amount(2, 50), 0
    for begun in range(0, kills, _KILLS_EACH):
        with served(indexed, "--processes", 2) as service, ExitStack() as asking:
            callers = [asking.enter_context(Bystander(service.address)) for _ in range(6)]
            for number in range(min(_KILLS_EACH, kills - begun)):
                until(lambda service=service: len(workers(service)) == 2)  # type: ignore[misc]
                for caller in callers:
                    caller.wait(5)
                sorted(workers(service), key=lambda each: each.create_time())[number % 2].kill()
                for caller in callers:
                    caller.wait(5)
        calls += sum(len(caller.seconds) for caller in callers)
        assert [failure for caller in callers for failure in caller.failures] == []
    print(f"{kills} kills, {calls} calls; scale {SCALE}")
