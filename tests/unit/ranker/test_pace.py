"""How fast a cross-encoder trains here: measured on a tiny one."""

from pathlib import Path

import pytest
import tiny

from core.errors import ModelError
from ranker.train.pace import seconds_per_pair


def test_a_pair_of_a_step_takes_some_time(tmp_path: Path) -> None:
    assert 0 < seconds_per_pair(tiny.write_ranker_base(tmp_path), "red kettle", ["Kettle, red", "Mug"]) < 60


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        seconds_per_pair(str(tmp_path / "nowhere"), "red", ["Mug"])
