"""The last stages of a training, which recipes and single trainings share: fit → export → check → record."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from core.digest import file_digest, value_digest
from core.progress import Steps
from encoder.bi_encoder import SPEC_FILE as ENCODER_FILE
from encoder.bi_encoder import BiEncoder
from indexer.cleaning.mapping import FeedMapping
from lifecycle.tracking.curves import CURVES_FILE, draw_curves
from lifecycle.tracking.lineage import RUN_FILE, Lineage, git_revision, write_lineage
from lifecycle.tracking.reliability import RELIABILITY_FILE, draw_reliability
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.data import Inputs
from ranker.ranker import SPEC_FILE as RANKER_FILE
from ranker.ranker import Ranker
from training.processes import is_main_process
from training.stages import REPORT_FILE, ModelStages, Task, train

Kind = Literal["encoder", "ranker"]


def train_and_record(
    lineage: Lineage, stages: ModelStages, task: Task[Any, Any], title: str, steps: Steps, tracker: Tracker
) -> dict[str, Any]:
    """Trains one model into the task's folder, tracked, with lineage and curves beside it; returns its report.

    `title` names the step that is shown.
    """
    output = task.output
    for name in (RUN_FILE, CURVES_FILE, RELIABILITY_FILE) if is_main_process() else ():
        (output / name).unlink(missing_ok=True)
    with tracker.run(lineage, task.settings.model_dump()) as run:
        with steps.step(title) as progress:
            report = train(stages, task, progress)
        if not is_main_process():
            return report
        files = _files(lineage.kind, output, report, lineage.catalog)
        tracked = run.record(report, model_digest(output), files)
    write_lineage(output, lineage.model_copy(update={"run": tracked}))
    return report


def make_lineage(
    kind: Kind,
    inputs: Inputs,
    mapping: FeedMapping,
    base: str,
    further: dict[str, str] | None = None,
    base_origin: str | None = None,
) -> Lineage:
    """The lineage of a model to train: digests of the inputs, and of `further` ones, and the revision of the code."""
    data = {"catalog": file_digest(inputs.catalog), "judgments": file_digest(inputs.judgments)}
    data["mapping"] = value_digest(mapping.model_dump(mode="json"))
    if inputs.towers:
        data["towers"] = BiEncoder.open(inputs.towers).digest
    if inputs.mining:
        data["mining"] = value_digest(inputs.mining.model_dump(mode="json"))
    if inputs.teacher:
        data["teacher"] = Ranker.open(inputs.teacher).digest
    return new_lineage(kind, base, mapping.catalog.name, data | (further or {}), base_origin)


def new_lineage(kind: Kind, base: str, catalog: str, data: dict[str, str], base_origin: str | None = None) -> Lineage:
    """A lineage that starts now; `data` are digests by name, `base_origin` says where the base was taken from."""
    return Lineage(
        kind=kind,
        base=base,
        base_origin=base_origin,
        catalog=catalog,
        started=datetime.now(UTC),
        data=data,
        tandem_version=version("tandem-retrieval"),
        git=git_revision(Path(__file__)),
    )


def model_digest(folder: Path) -> str:
    """The digest of the model that a training left in the folder. Raises ModelError without one."""
    is_ranker = (folder / RANKER_FILE).is_file()
    return Ranker.open(folder).digest if is_ranker else BiEncoder.open(folder).digest


def _files(kind: Kind, output: Path, report: dict[str, Any], catalog: str) -> list[Path]:
    """The files to keep with the run. Draws the pictures among them where matplotlib is installed."""
    files = [output / REPORT_FILE, output / (ENCODER_FILE if kind == "encoder" else RANKER_FILE)]
    try:
        draw_curves(report, f"{catalog}: {kind}", output / CURVES_FILE)
        files.append(output / CURVES_FILE)
        if report.get("reliability"):
            draw_reliability(report["reliability"], f"{catalog}: {kind}", output / RELIABILITY_FILE)
            files.append(output / RELIABILITY_FILE)
    except ModuleNotFoundError:
        pass
    return files
