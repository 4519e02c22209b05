import asyncio

import numpy as np
import pytest

from engine.fake import FakeEngine
from engine.fallback import FallbackEngine, collect_notes
from engine.protocol import DeadlineExceeded, EngineError, Pair

QUERY = [np.array([5], np.int32)]
PAIR = Pair(np.array([1, 8, 2], np.int32), np.zeros(3, np.int32))
CALLS = ("encode", "retrieve", "score_rows", "rescore")


async def every(engine: FallbackEngine, deadline: float | None = None) -> list[object]:
    vectors = await engine.encode(QUERY, deadline)
    [result] = await engine.retrieve(vectors, 3, deadline)
    similarities = await engine.score_rows(vectors[0], np.array([6], np.int64), deadline)
    logits = await engine.rescore([PAIR], deadline)
    return [vectors.tolist(), result.rows.tolist(), similarities.tolist(), logits.tolist()]


async def test_the_second_rests_while_the_first_works() -> None:
    first, second = FakeEngine(40), FakeEngine(40)
    with collect_notes() as notes:
        answers = await every(FallbackEngine(first, second))
    assert answers[1] == [5, 6, 7] and answers[3] == [8]
    assert notes == [] and second.calls == []


@pytest.mark.parametrize("broken", CALLS)
async def test_what_the_first_cannot_do_the_second_does_and_says_so(broken: str) -> None:
    whole = await every(FallbackEngine(FakeEngine(40), FakeEngine(40)))
    second = FakeEngine(40)
    with collect_notes() as notes:
        assert await every(FallbackEngine(FakeEngine(40, broken=[broken]), second)) == whole
    assert notes == [f"{broken} in this process: {broken} is broken"]
    assert [call for call, _ in second.calls] == [broken]


async def test_a_first_that_takes_too_long_leaves_the_second_time() -> None:
    engine = FallbackEngine(FakeEngine(40, delays={"encode": 0.3}), FakeEngine(40))
    deadline = asyncio.get_running_loop().time() + 0.4
    with collect_notes() as notes:
        assert (await engine.encode(QUERY, deadline)).tolist() == [[5]]
    assert notes == ["encode in this process: it took too long"]


async def test_a_request_waits_once_for_a_first_that_takes_too_long() -> None:
    first, second = FakeEngine(40, delays=dict.fromkeys(CALLS, 0.3)), FakeEngine(40)
    engine, whole = FallbackEngine(first, second), await every(FallbackEngine(FakeEngine(40), FakeEngine(40)))
    for _ in range(2):  # and each request once
        with collect_notes() as notes:
            assert await every(engine, asyncio.get_running_loop().time() + 0.45) == whole
        assert notes == [f"{call} in this process: it took too long" for call in CALLS]
    assert [call for call, _ in first.calls] == ["encode"] * 2


async def test_after_the_deadline_nobody_is_asked() -> None:
    second = FakeEngine(40)
    engine = FallbackEngine(FakeEngine(40, delays={"encode": 0.2}), second)
    with pytest.raises(DeadlineExceeded):
        await engine.encode(QUERY, asyncio.get_running_loop().time() + 0.05)
    assert second.calls == []


async def test_both_failing_is_told_by_the_second() -> None:
    engine = FallbackEngine(FakeEngine(40, broken=["encode"]), FakeEngine(40, broken=["encode"]))
    with collect_notes() as notes, pytest.raises(EngineError):
        await engine.encode(QUERY, None)
    assert notes == []


async def test_requests_side_by_side_have_notes_of_their_own() -> None:
    broken = FallbackEngine(FakeEngine(40, delays={"encode": 0.01}, broken=["score_rows"]), FakeEngine(40))

    async def request(compares: int) -> int:
        with collect_notes() as notes:
            for _ in range(compares):
                await asyncio.gather(broken.score_rows(np.zeros(1, np.float32), np.zeros(1, np.int64), None))
            return len(notes)

    assert await asyncio.gather(*(request(count) for count in range(5))) == list(range(5))


def test_both_are_closed() -> None:
    first, second = FakeEngine(1), FakeEngine(1)
    FallbackEngine(first, second).close()
    assert first.closed and second.closed
