"""The model repository that a Triton server reads: three immutable models for each release.

    <repository>/tandem.<catalog>.<release>.encode/      config.pbtxt, lease, 1/model.onnx, warmup/
    <repository>/tandem.<catalog>.<release>.retrieve/    config.pbtxt, 1/index.faiss, warmup/
    <repository>/tandem.<catalog>.<release>.rescore/     where the release has a cross-encoder

Large files are hard links to the release's. The Python backend's models carry copies of the modules they run, so that
they need nothing of this project where Triton runs. `lease` is locked, shared, by each process that uses the release.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from core.cores import available_cores
from core.errors import ModelError, ReleaseError
from engine.triton.config import WARM_TOKENS, Layout, TextModel, index_config, text_config

ENCODE, RETRIEVE, RESCORE = "encode", "retrieve", "rescore"
_PREFIX = "tandem"
_ROOT = Path(__file__).parents[2]
_SOURCES = _ROOT / "engine" / "triton" / "models"
_MODULES = (
    "core/errors.py",
    "engine/onnx/session.py",
    "engine/onnx/tables.py",
    "engine/vector/filtering.py",
    "engine/vector/index.py",
    "engine/triton/models/tensors.py",
)
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class ReleaseModels:
    """What of a release an engine runs. `ranker` is None where the release has no cross-encoder."""

    catalog: str
    release: str
    query_tower: Path
    index: Path
    index_report: Mapping[str, Any]
    ranker: Path | None

    @property
    def calls(self) -> tuple[str, ...]:
        """The calls that it has models for."""
        return (ENCODE, RETRIEVE) if self.ranker is None else (ENCODE, RETRIEVE, RESCORE)

    def name(self, call: str) -> str:
        """Triton's name of the model that answers a call."""
        return f"{_PREFIX}.{self.catalog}.{self.release}.{call}"


class Lease:
    """A release's lock in the repository: shared by its users, exclusive to unload it. Ends with the process."""

    def __init__(self, repository: Path, name: str) -> None:
        """`name` is that of the release's `encode` model. Raises ReleaseError where there is none."""
        try:
            self._handle = os.open(repository / name / "lease", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ReleaseError(f"{repository / name}: cannot be used: {error.strerror}; prepare it again") from None

    def share(self) -> None:
        """Takes the shared lock; waits while another process unloads the release."""
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def hold_exclusively(self) -> bool:
        """Takes the exclusive lock in place of the shared one; False where another process uses the release."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Releases the lock."""
        os.close(self._handle)


def prepare(models: ReleaseModels, repository: Path, layout: Layout | None = None) -> list[str]:
    """Writes the release's models unless they are there; returns the names of those that were written.

    Each appears whole or not at all. Raises ReleaseError when the folder cannot be written, ModelError for a file
    that is not a model.
    """
    layout = layout or Layout(rescore_instances=available_cores())
    written = []
    try:
        for call in reversed(models.calls):  # the one with the lease comes last
            name = models.name(call)
            if (repository / name / "config.pbtxt").is_file():
                continue
            with _staged(repository, name) as folder:
                _write_model(models, call, folder, layout)
            written.append(name)
    except OSError as error:
        raise ReleaseError(f"{repository}: cannot be written: {error.strerror}; name a folder Triton reads") from None
    return written


def remove_others(repository: Path, catalog: str, releases: set[str]) -> list[str]:
    """Removes the models of releases that are not among these and that no process uses; returns the releases."""
    gone = []
    for release in sorted(prepared(repository, catalog) - releases):
        encode = f"{_PREFIX}.{catalog}.{release}.{ENCODE}"
        lease = Lease(repository, encode)
        try:
            if lease.hold_exclusively():
                for call in (RESCORE, RETRIEVE, ENCODE):
                    shutil.rmtree(repository / f"{_PREFIX}.{catalog}.{release}.{call}", ignore_errors=True)
                gone.append(release)
        finally:
            lease.close()
    return gone


def prepared(repository: Path, catalog: str) -> set[str]:
    """The catalog's releases that have models in the repository."""
    folders = repository.glob(f"{_PREFIX}.{catalog}.r-*.{ENCODE}/lease")
    return {folder.parent.name.rsplit(".", 2)[1] for folder in folders}


def _write_model(models: ReleaseModels, call: str, folder: Path, layout: Layout) -> None:
    name = models.name(call)
    (folder / _VERSION).mkdir()
    (folder / "warmup").mkdir()
    if call == RETRIEVE:
        report = models.index_report
        settings = json.dumps(report.get("settings", {}))
        config = index_config(name, int(report["dimensions"]), settings, layout)
        _link(models.index, folder / _VERSION / "index.faiss")
        _copy_sources(_SOURCES / "index.py", folder / _VERSION)
        np.ones(1, np.int32).tofile(folder / "warmup" / "ones")
    else:
        path = models.query_tower if call == ENCODE else models.ranker
        assert path is not None, "a release without a cross-encoder has no such call"
        config = text_config(name, _described(path, call == RESCORE), layout)
        _link(path, folder / _VERSION / "model.onnx")
        if layout.backend == "python":
            _copy_sources(_SOURCES / "text.py", folder / _VERSION)
        np.ones(WARM_TOKENS, np.int64).tofile(folder / "warmup" / "ones")
    (folder / "config.pbtxt").write_text(config)
    if call == ENCODE:
        (folder / "lease").touch()


def _described(path: Path, logits: bool) -> TextModel:
    """The inputs and the output of an ONNX model, read from its file."""
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen kinds, none of them public
        raise ModelError(f"{path}: is not a model that ONNX Runtime reads: {str(error).splitlines()[0]}") from None
    output = session.get_outputs()[0]
    dimensions = 1 if logits else output.shape[1]
    if not isinstance(dimensions, int):
        raise ModelError(f"{path}: has no width of its vectors; export the model again")
    return TextModel(tuple(entry.name for entry in session.get_inputs()), output.name, dimensions, logits)


def _copy_sources(model: Path, folder: Path) -> None:
    shutil.copyfile(model, folder / "model.py")
    for module in _MODULES:
        target = folder / module
        target.parent.mkdir(parents=True, exist_ok=True)
        for package in Path(module).parents[:-1]:
            (folder / package / "__init__.py").touch()
        shutil.copyfile(_ROOT / module, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


@contextmanager
def _staged(repository: Path, name: str) -> Iterator[Path]:
    """A folder that takes its name once it is whole, unless another process was faster."""
    staging = repository / f".staging-{os.getpid()}-{name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        try:
            staging.rename(repository / name)
        except OSError:
            if not (repository / name / "config.pbtxt").is_file():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
