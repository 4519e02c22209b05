"""Writers killed at random moments of writing, rotating and dropping: nothing acknowledged is lost, nothing is made up.

TANDEM_TORTURE=300 sets how many are killed (`make torture`), TANDEM_TORTURE_SEED another choice of moments.
"""

import os
import uuid
from pathlib import Path

import pytest

from benchmarks.killing import kill_writers

KILLS = int(os.environ.get("TANDEM_TORTURE", "10"))
SEED = int(os.environ.get("TANDEM_TORTURE_SEED", "23"))


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
