"""The report of an adaptation, and the folder of models that it leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoder
from lifecycle.adapt.check import AdaptCheck, PairedGain
from training.stages import REPORT_FILE

ENCODER, RANKER, FINAL = "encoder", "ranker", "final"
MODELS = (ENCODER, RANKER, FINAL)


class AdaptReport(BaseModel):
    """What an adaptation came to. `inputs` is a digest of all that it depends on; `queries` counts them by their way,
    `voters` has the weight of each, `quality` the mean reciprocal rank that it comes from; `notes` are for people.
    """

    model_config = ConfigDict(frozen=True)

    inputs: str
    products: int
    accepted: bool = False
    reasons: list[str] = []
    searched: int = 0
    queries: dict[str, dict[str, int]] = {}
    voters: dict[str, float] = {}
    quality: dict[str, float] = {}
    steps: int = 0
    known: dict[str, PairedGain] = {}
    agreement: PairedGain | None = None
    notes: list[str] = []
    seconds: dict[str, float] = {}
    training: dict[str, Any] | None = None

    def checked(self, check: AdaptCheck) -> "AdaptReport":
        """With the outcome of the check."""
        update = {"accepted": check.accepted, "reasons": check.reasons, "known": check.known}
        return self.model_copy(update=update | {"agreement": check.agreement})


def read_report(folder: Path) -> AdaptReport | None:
    """The report of an earlier adaptation; None where the folder has none, or one of another version."""
    try:
        return AdaptReport.model_validate_json((folder / REPORT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def is_done(folder: Path, inputs: str) -> AdaptReport | None:
    """The report where the folder holds the models of the same inputs, whole."""
    report = read_report(folder)
    if report is None or report.inputs != inputs:
        return None
    try:
        BiEncoder.open(folder / ENCODER)
    except ModelError:
        return None
    return report


def check_output(output: Path, start: Path | None) -> None:
    """Raises ModelError for a folder that is the start's, or holds what no adaptation left."""
    if start is not None and output.resolve() in (start.resolve(), *start.resolve().parents):
        raise ModelError(f"{output}: holds the models to start from; choose another folder for the output")
    if output.exists() and not output.is_dir():
        raise ModelError(f"{output}: is no folder; choose another one for the output")
    if output.is_dir() and any(output.iterdir()) and read_report(output) is None:
        raise ModelError(f"{output}: holds something else; choose a new folder for the output, or empty it")


def copy_models(start: Path, output: Path, names: tuple[str, ...] = MODELS) -> None:
    """Copies those of the models that the start has."""
    for name in names:
        if (start / name).is_dir():
            shutil.rmtree(output / name, ignore_errors=True)
            shutil.copytree(start / name, output / name)


def write_report(folder: Path, report: AdaptReport) -> None:
    """Writes `report.json`, last of all: where it is, the folder is whole."""
    if not (folder / ENCODER / SPEC_FILE).is_file():
        raise ModelError(f"{folder}: holds no towers")
    (folder / REPORT_FILE).write_text(json.dumps(report.model_dump(mode="json"), indent=2) + "\n")
