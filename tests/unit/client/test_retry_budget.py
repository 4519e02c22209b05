"""One budget for all calls of a client: retries do not multiply an overload."""

import random
import threading

import grpc
import pytest

from tandem.client.retries import ATTEMPTS, RetryBudget

REFUSED, UNAVAILABLE = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE


class Failed:
    """A call that ended with this code and delay."""

    def __init__(self, code: grpc.StatusCode = REFUSED, milliseconds: str = "10") -> None:
        self._code, self._milliseconds = code, milliseconds

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return ""

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("grpc-retry-pushback-ms", self._milliseconds),)


def sent_for_each(refused: float, calls: int = 4000) -> float:
    """How often a call is sent on average, where this share of all that is sent is refused."""
    budget, chance, sent = RetryBudget(), random.Random(7), 0
    for _ in range(calls):
        for attempt in range(1, ATTEMPTS + 1):
            sent += 1
            if chance.random() >= refused:
                budget.note_answer()
                break
            if budget.seconds_to_wait(Failed(), attempt, 5.0) is None:
                break
    return sent / calls


@pytest.mark.parametrize(
    ("refused", "least", "most"), [(0.02, 1.015, 1.03), (0.5, 1, 1.01), (0.9, 1, 1.01), (1, 1, 1.002)]
)
def test_retries_are_few_where_many_are_refused(refused: float, least: float, most: float) -> None:
    assert least <= sent_for_each(refused) <= most


def test_five_refusals_in_a_row_end_retries_and_answers_bring_them_back() -> None:
    budget = RetryBudget()
    assert [budget.seconds_to_wait(Failed(), 1, 5.0) for _ in range(7)] == [0.01] * 5 + [None] * 2
    for _ in range(40):
        budget.note_answer()
    assert budget.seconds_to_wait(Failed(), 1, 5.0) == 0.01  # 3 tokens, and 4 more, less this one


def test_a_call_without_time_for_the_delay_and_other_failures_are_not_sent_again() -> None:
    budget = RetryBudget()
    assert budget.seconds_to_wait(Failed(milliseconds="900"), 1, 0.5) is None
    assert budget.seconds_to_wait(Failed(milliseconds="-1"), 1, 5.0) is None
    assert budget.seconds_to_wait(Failed(), ATTEMPTS, 5.0) is None
    for _ in range(50):  # gRPC's own retries have a budget of their own
        assert budget.seconds_to_wait(Failed(UNAVAILABLE), 1, 5.0) is None
    assert budget.seconds_to_wait(Failed(), 1, 5.0) == 0.01


def test_threads_share_the_budget() -> None:
    budget = RetryBudget()
    again: list[bool] = []

    def work() -> None:
        again.extend(budget.seconds_to_wait(Failed(), 1, 5.0) is not None for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(again) == 5
