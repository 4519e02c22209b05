import asyncio

import numpy as np
import pytest

from engine.fake import FakeEngine
from engine.protocol import DeadlineExceeded, EngineError, Pair


async def test_answers_follow_from_the_tokens() -> None:
    engine = FakeEngine(5)
    vectors = await engine.encode([np.array([3, 9], np.int32), np.array([0], np.int32)], None)
    assert vectors.tolist() == [[3], [0]]
    first, second = await engine.retrieve(vectors, 3, None)
    assert first.rows.tolist() == [3, 4, 0] and second.rows.tolist() == [0, 1, 2]
    assert first.scores.tolist() == pytest.approx([1, 0.99, 0.98])
    [whole] = await engine.retrieve(vectors[:1], 50, None)
    assert sorted(whole.rows.tolist()) == [0, 1, 2, 3, 4]
    pair = Pair(np.array([101, 7, 102, 5, 42, 102], np.int32), np.zeros(6, np.int32))
    assert (await engine.rescore([pair], None)).tolist() == [42]
    assert engine.calls == [("encode", 2), ("retrieve", 2), ("retrieve", 1), ("rescore", 1)]


async def test_a_broken_call_and_a_late_one() -> None:
    engine = FakeEngine(5, delays={"retrieve": 0.02}, broken=["encode"])
    with pytest.raises(EngineError, match="encode is broken"):
        await engine.encode([np.array([1], np.int32)], None)
    soon = asyncio.get_running_loop().time() + 0.005
    with pytest.raises(DeadlineExceeded):
        await engine.retrieve(np.zeros((1, 1), np.float32), 3, soon)


def test_closing_is_remembered() -> None:
    engine = FakeEngine(1)
    assert not engine.closed
    engine.close()
    assert engine.closed
