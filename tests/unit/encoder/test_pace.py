"""The time of a training step."""

from pathlib import Path

import pytest
import tiny

from core.errors import ModelError
from encoder.train.pace import seconds_per_step


def test_a_step_is_timed(tmp_path: Path) -> None:
    assert 0 < seconds_per_step(tiny.write_base(tmp_path)) < 60


def test_what_is_no_model_is_not_timed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        seconds_per_step(str(tmp_path / "nowhere"))
