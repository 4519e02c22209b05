"""A row by hand: order, difference, closeness, bytes and times of stand-ins whose answers are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from teachers import TEXTS, write_ranker, write_towers

from evaluation.measures import Grades
from lifecycle.training.trial import RankerTrial, Subject, TowerTrial, TrialPart, compare_subjects

GRADES: Grades = {
    "red kettle": {"red-kettle": 1.0, "blue-kettle": 0.5, "red-spade": 0.0},
    "blue spade": {"blue-spade": 1.0, "red-spade": 0.5, "red-kettle": 0.0},
}


def no_similarity(queries: list[str], products: list[str]) -> np.ndarray:
    return np.zeros(len(queries), np.float32)


def pairs(logits: list[float]) -> Subject:
    """Answers pair i, whose only token is i, with logit i."""

    def run(tokens: Any, segments: Any) -> np.ndarray:
        return np.array([logits[sequence[0]] for sequence in tokens], np.float32)

    return Subject({"pair": TrialPart([np.array([i], np.int32) for i in range(6)], None, run)}, 10 * len(logits))


def test_a_row_by_hand() -> None:
    trial = RankerTrial(GRADES, TEXTS, no_similarity)
    subjects = {"whole": pairs([3, 2, 1, 3, 2, 1]), "small": pairs([3, 2, 1, 1, 2, 3])}
    rows = compare_subjects(trial, subjects, "whole", repeats=1)
    whole, small = rows["whole"], rows["small"]
    # The second query's order is turned round: gains 1 and 2^0.5 - 1 stand at places 3 and 2 and not at 1 and 2.
    half = 2**0.5 - 1
    ideal, turned = 1 + half / np.log2(3), half / np.log2(3) + 1 / 2
    assert (whole.ndcg, whole.difference, whole.closeness) == pytest.approx((1, 0, 1), abs=1e-3)
    assert small.ndcg == pytest.approx((1 + turned / ideal) / 2, abs=1e-3)
    assert small.difference == pytest.approx(small.ndcg - 1) and (small.wins, small.losses) == (0, 1)
    assert small.closeness == pytest.approx(0, abs=1e-6)
    assert small.speed["pair"] == pytest.approx(whole.milliseconds["pair"] / small.milliseconds["pair"])
    assert "nDCG@10" in small.line() and small.as_json()["bytes"] == 60


def test_folders_and_files_are_tried(tmp_path: Path) -> None:
    ranker, towers = write_ranker(tmp_path / "ranker"), write_towers(tmp_path / "towers")
    copy = tmp_path / "copy.onnx"
    for trial, folder in ((RankerTrial(GRADES, TEXTS, no_similarity), ranker), (TowerTrial(GRADES, TEXTS), towers)):
        copy.write_bytes((folder / "model.onnx").read_bytes())
        subjects = {"whole": trial.subject(folder), "copy": trial.subject(folder, copy)}
        rows = compare_subjects(trial, subjects, "whole", repeats=1)
        assert rows["copy"].bytes == rows["whole"].bytes > copy.stat().st_size
        assert rows["copy"].difference == 0 and rows["copy"].closeness == pytest.approx(1)
        assert 0 < rows["whole"].ndcg <= 1
