"""What a training leaves besides the model, and what its tracker is told; the fine-tuning itself is a double."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.digest import file_digest
from core.errors import ModelError
from core.progress import Silent
from lifecycle.tracking.lineage import Lineage, TrackedRun
from lifecycle.tracking.reliability import diagram_title
from lifecycle.training import fine_tuning, record
from lifecycle.training.data import Inputs
from lifecycle.training.fine_tuning import train_model
from training.loop import METRIC
from training.settings import TrainingSettings
from training.stages import Task

REPORT: dict[str, Any] = {
    "loss": [{"step": step, "loss": 1 / step} for step in range(1, 9)],
    "validation": [{"step": step, METRIC: 0.5 + step / 20} for step in (0, 4, 8)],
    "start": 0.5,
    "best": 0.9,
    "best_step": 8,
}
TRACKED = TrackedRun(uri="http://mlflow", run_id="r1", model="tandem-default-encoder", version="1")


class Recorder:
    """A tracker that keeps what it is given."""

    def __init__(self) -> None:
        self.lineage: Lineage | None = None
        self.settings: Mapping[str, Any] = {}
        self.recorded: list[tuple[Mapping[str, Any], str, list[str]]] = []
        self.failed = False

    @contextmanager
    def run(self, lineage: Lineage, settings: Mapping[str, Any]) -> Iterator["Recorder"]:
        self.lineage, self.settings = lineage, settings
        try:
            yield self
        except Exception:
            self.failed = True
            raise

    def record(self, report: Mapping[str, Any], digest: str, files: Sequence[Path]) -> TrackedRun:
        self.recorded.append((report, digest, [path.name for path in files]))
        return TRACKED


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    catalog, judgments = tmp_path / "feed.csv", tmp_path / "judged.csv"
    catalog.write_text("id,title\na,mug\nb,lamp\n")
    rows = [f"{query},{product},{grade},{split}" for split, query in (("train", "mug"), ("valid", "lamp"))
            for product, grade in (("a", 1), ("b", 0))]  # fmt: skip
    judgments.write_text("query,product_id,grade,split\n" + "\n".join(rows) + "\n")
    return Inputs(catalog, None, judgments)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a double trains, which takes its language and nothing else seriously."""

    def train(stages: None, task: Task, report: Any) -> dict[str, Any]:
        assert task.examples.language == "en" and len(task.examples.texts) == 2
        if not task.output.is_dir():
            raise ModelError("no folder")
        return REPORT

    monkeypatch.setattr(fine_tuning, "fine_tuning", lambda kind, settings: (None, TrainingSettings(**settings)))
    monkeypatch.setattr(record, "train", train)
    monkeypatch.setattr(record, "model_digest", lambda output: "d" * 64)
    folder = tmp_path / "trained"
    folder.mkdir()
    return folder


def test_a_training_leaves_its_lineage(inputs: Inputs, output: Path) -> None:
    tracker = Recorder()
    assert train_model("encoder", inputs, output, {"seed": 7, "base": None}, Silent(), tracker) == REPORT
    assert tracker.lineage is not None and tracker.settings["seed"] == 7
    [(report, digest, files)] = tracker.recorded
    assert report == REPORT and digest == "d" * 64 and files[:2] == ["report.json", "tower.json"]
    left = Lineage.model_validate_json((output / "run.json").read_bytes())
    assert left == tracker.lineage.model_copy(update={"run": TRACKED})
    assert left.data["catalog"] == file_digest(inputs.catalog)
    assert left.data["judgments"] == file_digest(inputs.judgments)
    assert (left.base, left.catalog) == ("all-MiniLM-L6-v2", "default")


def test_a_training_that_fails_leaves_none_of_an_earlier_one(inputs: Inputs, output: Path) -> None:
    train_model("encoder", inputs, output, {}, Silent(), Recorder())
    for path in output.iterdir():
        path.unlink()
    output.rmdir()
    tracker = Recorder()
    with pytest.raises(ModelError):
        train_model("encoder", inputs, output, {}, Silent(), tracker)
    assert tracker.failed and not tracker.recorded


def test_the_curves_are_drawn_beside_the_model(inputs: Inputs, output: Path) -> None:
    pytest.importorskip("matplotlib")
    tracker = Recorder()
    train_model("ranker", inputs, output, {}, Silent(), tracker)
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert tracker.recorded[0][2] == ["report.json", "ranker.json", "curves.png"]
    assert json.loads((output / "run.json").read_text())["kind"] == "ranker"


def test_a_rankers_reliability_is_drawn_too(inputs: Inputs, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    bins = [
        {"pairs": 1200, "probability": 0.2, "relevant": 0.1, "low": 0.05, "high": 0.2},
        {"pairs": 1201, "probability": 0.8, "relevant": 0.9, "low": 0.85, "high": 1.0},
    ]
    result = {"bins": bins, "expected_calibration_error": 0.1, "brier": 0.2}
    assert diagram_title(result, "shop: ranker") == "shop: ranker, calibration error 0.100 of 2,401 pairs"
    monkeypatch.setitem(REPORT, "reliability", result)
    tracker = Recorder()
    train_model("ranker", inputs, output, {}, Silent(), tracker)
    assert tracker.recorded[0][2][-1] == "reliability.png"
    assert (output / "reliability.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(REPORT, "reliability", None)  # one query alone to validate on
    train_model("ranker", inputs, output, {}, Silent(), tracker)
    assert tracker.recorded[1][2][-1] == "curves.png" and not (output / "reliability.png").exists()


def test_without_matplotlib_there_is_no_picture(inputs: Inputs, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*_: Any) -> None:
        raise ModuleNotFoundError(name="matplotlib")

    (output / "curves.png").touch()
    monkeypatch.setattr(record, "draw_curves", draw)
    tracker = Recorder()
    train_model("encoder", inputs, output, {}, Silent(), tracker)
    assert tracker.recorded[0][2] == ["report.json", "tower.json"] and not (output / "curves.png").exists()
