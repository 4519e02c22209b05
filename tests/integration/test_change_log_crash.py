"""Writers killed at random moments of writing, rotating and dropping: nothing acknowledged is lost or made up."""

import uuid
from pathlib import Path

import pytest
from torture import SEED, amount

from benchmarks.killing import kill_writers

KILLS = amount(10, 300)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["file", "redis"])
def test_killed_writers_lose_repeat_and_invent_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    setting = request.getfixturevalue("redis_url") if kind == "redis" else ""
    kills = KILLS if kind == "file" else max(2, KILLS // 5)
    losses = kill_writers(setting, tmp_path / "shop" / "changes", uuid.uuid4().hex, kills, SEED)
    assert (losses.lost, losses.ghosts, losses.duplicates) == (0, 0, 0)
    assert losses.acknowledged > kills
