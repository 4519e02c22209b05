import asyncio

import pytest

from retrieval.server.admission import Admission, Overloaded, Permit
from retrieval.server.bulk import BulkQueue


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_bulk_work_has_a_place_where_more_than_half_are_free_and_takes_none_away() -> None:
    admission = Admission(4)
    first, second = admission.take_bulk(), admission.take_bulk()
    assert first is not None and second is not None and admission.take_bulk() is None
    searches = [admission.take() for _ in range(4)]
    assert all(searches) and admission.in_flight == 4  # whatever bulk work is being done
    with pytest.raises(Overloaded), admission.enter():
        pass
    first.release()
    second.release()
    second.release()
    assert admission.take_bulk() is None  # searches have all places
    for search in searches[:3]:
        assert search is not None
        search.release()
    assert admission.take_bulk() is not None


def test_a_service_of_one_place_does_bulk_work_when_nothing_else_is_there() -> None:
    admission = Admission(1)
    bulk = admission.take_bulk()
    assert bulk is not None and admission.take_bulk() is None
    assert admission.take() is not None
    bulk.release()
    assert admission.take_bulk() is None


async def test_who_waits_gets_a_place_in_turn_when_one_comes_free_on_any_thread() -> None:
    admission = Admission(2)
    queue = BulkQueue(admission)
    held = await queue.take()
    got: list[int] = []
    permits: list[Permit] = []

    async def wait(number: int) -> None:
        permits.append(await queue.take())
        got.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(4)]
    await turns()
    assert got == [] and queue.waiting == 4
    tasks[0].cancel()
    await turns()
    for number in (1, 2, 3):
        await asyncio.to_thread((permits[-1] if permits else held).release)
        async with asyncio.timeout(5):
            await tasks[number]
        assert got == list(range(1, number + 1))
    assert queue.waiting == 0


async def test_a_place_given_to_who_has_gone_passes_to_the_next() -> None:
    admission = Admission(2)
    queue = BulkQueue(admission)
    held = await queue.take()
    first, second = (asyncio.create_task(queue.take()) for _ in range(2))
    await turns()
    held.release()
    first.cancel()
    async with asyncio.timeout(5):
        (await second).release()
    assert first.cancelled()
