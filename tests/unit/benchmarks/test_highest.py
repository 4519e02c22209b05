import pytest

from benchmarks.load.highest import Highest, Outcome, find_highest


class FakeService:
    """Holds up to `capacity`; from `client` on the client is too slow to tell."""

    def __init__(self, capacity: float, client: float = float("inf")) -> None:
        self.capacity, self.client = capacity, client
        self.tried: list[float] = []

    async def __call__(self, rate: float) -> Outcome:
        self.tried.append(rate)
        if rate >= self.client:
            return Outcome.CLIENT_TOO_SLOW
        return Outcome.HOLDS if rate <= self.capacity else Outcome.FAILS


async def test_it_doubles_then_halves_the_gap() -> None:
    service = FakeService(50)
    assert await find_highest(service, start=10, precision=0.1) == Highest(50.0, True)
    assert service.tried == [10, 20, 40, 80, 60, 50, 55]


@pytest.mark.parametrize("capacity", [1.3, 7, 33, 900])
@pytest.mark.parametrize("start", [0.5, 10, 5000])
async def test_it_comes_as_close_as_asked_from_any_start(capacity: float, start: float) -> None:
    result = await find_highest(FakeService(capacity), start, precision=0.05)
    assert result.bounded and result.rate <= capacity <= result.rate * 1.05 + 0.1


async def test_where_nothing_holds_the_rate_is_zero() -> None:
    service = FakeService(0)
    assert await find_highest(service, 10) == Highest(0.0, True)
    assert min(service.tried) > 0


async def test_a_client_that_is_too_slow_ends_the_search_without_a_bound() -> None:
    result = await find_highest(FakeService(1000, client=100), 10, precision=0.05)
    assert not result.bounded and 90 <= result.rate < 100


async def test_a_rate_that_fails_below_a_too_slow_one_is_a_bound() -> None:
    result = await find_highest(FakeService(30, client=75), 20, precision=0.1)
    assert result.bounded and 27 <= result.rate <= 30


async def test_the_ceiling_ends_the_search() -> None:
    assert await find_highest(FakeService(1e9), 10, ceiling=100) == Highest(100.0, False)
