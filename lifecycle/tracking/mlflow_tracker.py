"""Runs in MLflow: parameters, curves, measures, files, and a registered version of each model. Needs extra `track`."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import TandemError
from lifecycle.tracking.lineage import Lineage, TrackedRun
from lifecycle.tracking.store import error_line, model_name, redact_uri
from training.loop import METRIC

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "tandem"
CANDIDATE = "candidate"
CHAMPION = "champion"

_T = TypeVar("_T")
_PACKAGES = ("torch", "transformers", "sentence-transformers", "datasets", "onnxruntime", "numpy", "scipy")
_BATCH = 1000  # metrics that a server takes at once

# Only where the user has set nothing else. A server that is down costs seconds, not minutes.
_ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowTracker:
    """Records runs in the MLflow of a URI."""

    def __init__(
        self, uri: str, notify: Callable[[str], None], connect: "Callable[[str], MlflowClient] | None" = None
    ) -> None:
        self._uri = uri
        self._notify = notify
        self._connect = connect or open_client

    @contextmanager
    def run(self, lineage: Lineage, settings: Mapping[str, Any]) -> Iterator["MlflowRun"]:
        """See `lifecycle.tracking.tracker.Tracker`."""
        run = MlflowRun(self._uri, self._notify, lineage)
        run.start(self._connect, settings)
        try:
            yield run
        except BaseException as error:
            run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        run.end("FINISHED")


class MlflowRun:
    """One run. After its first failure it prints one line, records no more, and the training goes on."""

    def __init__(self, uri: str, notify: Callable[[str], None], lineage: Lineage) -> None:
        self._uri = uri
        self._notify = notify
        self._lineage = lineage
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._lost = False

    def start(self, connect: "Callable[[str], MlflowClient]", settings: Mapping[str, Any]) -> None:
        """Opens the run with its parameters and its lineage."""
        self._try(lambda: self._start(connect(self._uri), settings))

    def end(self, status: str) -> None:
        """Marks the run as FINISHED, FAILED or KILLED."""
        client = self._client
        if client is not None and self._run_id:
            self._try(lambda: client.set_terminated(self._run_id, status))

    def record(self, report: Mapping[str, Any], digest: str, files: Sequence[Path]) -> TrackedRun | None:
        """See `lifecycle.tracking.tracker.Run`. None where recording failed before."""
        client = self._client
        tracked = self._try(lambda: self._record(client, report, digest, files)) if client is not None else None
        if tracked:
            self._notify(f"tracked in {tracked.uri}: {tracked.model} version {tracked.version}, run {tracked.run_id}")
        return tracked

    def _start(self, client: "MlflowClient", settings: Mapping[str, Any]) -> None:
        self._client, lineage = client, self._lineage
        name = f"{lineage.catalog} {lineage.kind} {lineage.started:%Y-%m-%d %H:%M:%S}"
        run = client.create_run(_experiment(client, self._uri), run_name=name, tags=_tags(lineage))
        self._run_id = run.info.run_id
        client.log_batch(self._run_id, params=_parameters({**settings, "base": lineage.base}))

    def _record(
        self, client: "MlflowClient", report: Mapping[str, Any], digest: str, files: Sequence[Path]
    ) -> TrackedRun:
        metrics = _metrics(report)
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(self._run_id, metrics=metrics[start : start + _BATCH])
        for path in files:
            client.log_artifact(self._run_id, str(path))
        name = model_name(self._lineage.catalog, self._lineage.kind)
        _register(client, name)
        source = client.get_run(self._run_id).info.artifact_uri
        created = client.create_model_version(name, source, self._run_id, tags={"digest": digest})
        client.set_registered_model_alias(name, CANDIDATE, created.version)
        return TrackedRun(uri=redact_uri(self._uri), run_id=self._run_id, model=name, version=str(created.version))

    def _try(self, step: Callable[[], _T]) -> _T | None:
        if self._lost:
            return None
        try:
            return step()
        except Exception as error:  # mlflow, requests, SQLAlchemy and alembic each raise their own
            self._lost = True
            self._notify(f"not tracked in {redact_uri(self._uri)}, training goes on: {error_line(error, self._uri)}")
            return None


def open_client(uri: str) -> "MlflowClient":
    """MLflow's client; it prints nothing and sends nothing elsewhere. Raises TandemError where MLflow is missing."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise TandemError(f"tracking needs {error.name}: pip install 'tandem-retrieval[track]'") from None
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # which importing it has set anew
    local = _database(uri)
    if local:
        local.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(uri)


def _experiment(client: "MlflowClient", uri: str) -> str:
    """The id of the one experiment; where it is in a local file, artefacts go beside that."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment:
        return experiment.experiment_id
    local = _database(uri)
    return client.create_experiment(EXPERIMENT, (local.parent / "artifacts").as_uri() if local else None)


def _database(uri: str) -> Path | None:
    return Path(redact_uri(uri).removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _register(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(lineage: Lineage) -> dict[str, str]:
    tags = {"kind": lineage.kind, "catalog": lineage.catalog, "version.tandem": lineage.tandem_version}
    tags |= {f"data.{name}": digest for name, digest in lineage.data.items()}
    if lineage.git:
        tags["mlflow.source.git.commit"] = lineage.git
    for package in _PACKAGES:
        try:
            tags[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return tags


def _parameters(settings: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in settings.items()]


def _metrics(report: Mapping[str, Any]) -> list[Any]:
    """Both curves by step, and every single number of the report."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    curves = [("loss", entry["loss"], entry["step"]) for entry in report["loss"]]
    curves += [(METRIC, entry[METRIC], entry["step"]) for entry in report["validation"]]
    single = [(name, value, 0) for name, value in flatten_numbers(report) if not name.startswith("settings.")]
    # The registry allows no @ in names.
    return [Metric(name.replace("@", "_at_"), float(value), now, step) for name, value, step in (*curves, *single)]


def flatten_numbers(values: Mapping[str, Any], within: str = "") -> list[tuple[str, float]]:
    """The numbers in nested tables, named like `parity.cosine_mean`; lists are left out."""
    result: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            result += flatten_numbers(value, f"{within}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            result.append((within + name, value))
    return result
