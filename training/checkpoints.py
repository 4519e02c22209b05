"""The checkpoint to resume an interrupted training from: its newest complete one, if its inputs are the same."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.digest import value_digest
from training.processes import barrier, count, is_main_process

_STAMP = "inputs"


def last_checkpoint(scratch: Path, settings: Mapping[str, Any], dataset: Any, further: Any) -> Path | None:
    """The newest whole checkpoint of a run with the same inputs; anything else is removed.

    `dataset` is a Dataset or DatasetDict to train on, `further` a JSON value of what else the loss goes by.
    """
    if is_main_process():
        _clean(scratch, value_digest([settings, _rows(dataset), further, count()]))
    barrier()
    return max(scratch.glob("checkpoint-*"), key=_step, default=None)


def remove_checkpoints(scratch: Path) -> None:
    """Once every process has read what it wants of them."""
    barrier()
    if is_main_process():
        shutil.rmtree(scratch, ignore_errors=True)


def _clean(scratch: Path, inputs: str) -> None:
    stamp = scratch / _STAMP
    if not stamp.is_file() or stamp.read_text() != inputs:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        stamp.write_text(inputs)
    for checkpoint in scratch.glob("checkpoint-*"):
        states = len(list(checkpoint.glob("rng_state*")))  # one a process
        if states < count() or not _is_json(checkpoint / "trainer_state.json"):  # which the first writes last
            shutil.rmtree(checkpoint)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _rows(dataset: Any) -> Any:
    """The columns of a dataset, or of each that a DatasetDict holds."""
    if isinstance(dataset, Mapping):
        return {name: _rows(part) for name, part in dataset.items()}
    return dataset.with_format(None).to_dict()  # a trainer of several datasets adds a format that names each


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True
