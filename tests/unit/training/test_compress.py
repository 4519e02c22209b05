"""What the teacher says is computed once, and what is no teacher is refused."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelError
from training.compress import compute_once, teacher_checkpoint


def test_rows_are_computed_once_even_when_cut_off(tmp_path: Path) -> None:
    asked: list[int] = []

    def compute(places: np.ndarray) -> np.ndarray:
        if 3 in places and len(asked) < 4:
            raise KeyboardInterrupt
        asked.extend(places)
        return places.astype(np.float32) * 2

    batches = [np.array([0, 2]), np.array([1, 3]), np.array([4])]
    with pytest.raises(KeyboardInterrupt):
        compute_once(tmp_path / "kept" / "rows.npy", (5,), batches, compute, 1)
    assert asked[:2] == [0, 2]
    done = len(asked)
    asked += [-1] * 4
    calls: list[tuple[int, int | None]] = []
    result = compute_once(
        tmp_path / "kept" / "rows.npy", (5,), batches, compute, 1, lambda *progress: calls.append(progress)
    )
    assert result.tolist() == [0, 2, 4, 6, 8]
    assert not {0, 2} & {*asked[done + 4 :]} and calls[-1] == (5, 5)


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tandem train"):
        teacher_checkpoint(tmp_path, tmp_path / "output")
    with pytest.raises(ModelError, match="another folder"):
        teacher_checkpoint(tmp_path, tmp_path)
