"""The report of an adaptation, and the folder of models that it leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoder
from lifecycle.adapt.check import AdaptCheck, PairedGain
from lifecycle.adapt.ranker_check import RankerReport
from lifecycle.adapt.served import final_beside
from lifecycle.tracking.lineage import write_verdict
from ranker.ranker import Ranker
from training.stages import REPORT_FILE

ENCODER, RANKER, FINAL = "encoder", "ranker", "final"


class AdaptReport(BaseModel):
    """What an adaptation came to. `inputs` is a digest of all that it depends on, `accepted` says whether the towers
    are adapted ones, `ranker` which cross-encoder there is where the start has one. `queries` counts them by way,
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
    ranker: RankerReport | None = None

    @property
    def adapted_ranker(self) -> bool:
        """Whether the cross-encoder is an adapted one."""
        return self.ranker is not None and self.ranker.choice == "adapted"

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
        if report.adapted_ranker:
            Ranker.open(folder / RANKER)
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


def gather_models(start: Path, output: Path, report: AdaptReport) -> list[str]:
    """Puts what was not adapted beside what was, and why into the lineages of the latter; returns notes for people.

    Where nothing was, these are the models of the start, unchanged.
    """
    chosen = report.ranker.choice if report.ranker else "original"
    _copy(start, output, ((ENCODER, not report.accepted), (RANKER, chosen == "original")))
    if not report.accepted and chosen == "original":
        _copy(start, output, ((FINAL, True),))
        return []
    if report.accepted:
        beside = f"; cross-encoder: {chosen}: {report.ranker.reason}" if report.ranker else ""
        write_verdict(output / ENCODER, "adapted: the order served surely gains on held-out queries" + beside)
    if report.ranker and chosen == "adapted":
        write_verdict(output / RANKER, f"adapted: {report.ranker.reason}")
    ranker = Ranker.open(output / RANKER) if (output / RANKER).is_dir() else None
    towers = BiEncoder.open(output / ENCODER).digest
    if final_beside(start / FINAL, towers, ranker, rescoring=chosen == "adapted"):
        _copy(start, output, ((FINAL, True),))
        return []
    return ["no final score: that of the start does not go with these models"] if (start / FINAL).is_dir() else []


def _copy(start: Path, output: Path, names: tuple[tuple[str, bool], ...]) -> None:
    """Those of the models that are wanted and that the start has; what is not wanted stays as it is."""
    for name, wanted in names:
        if wanted:
            shutil.rmtree(output / name, ignore_errors=True)
            if (start / name).is_dir():
                shutil.copytree(start / name, output / name)


def write_report(folder: Path, report: AdaptReport) -> None:
    """Writes `report.json`, last of all: where it is, the folder is whole."""
    if not (folder / ENCODER / SPEC_FILE).is_file():
        raise ModelError(f"{folder}: holds no towers")
    (folder / REPORT_FILE).write_text(json.dumps(report.model_dump(mode="json"), indent=2) + "\n")
