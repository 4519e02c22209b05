"""The user tower as a folder: a spec and one ONNX file, which ONNX Runtime runs without torch.

It reads the vectors of a user's products, as the item tower makes them, with their ages and what was done, and returns
a unit vector of the same space: the index of products answers it, and a new product has its vector the day it comes.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from core.errors import ModelError
from core.formats import USER_TOWER
from engine.folder import FILE_NAME, check_files, files_digest, read_spec
from engine.onnx.session import session

SPEC_FILE, MODEL_FILE = "user_tower.json", "model.onnx"
PURCHASE = 3  # as an action: 1 view, 2 cart
ITEMS, AGES, ACTIONS, MASK = INPUTS = ("items", "ages", "actions", "mask")
_BATCH = 256


class UserTowerSpec(BaseModel):
    """The content of `user_tower.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="Format of the spec.")
    dimensions: int = Field(ge=1, description="Dimensions of a vector: those of the item tower.")
    most_products: int = Field(ge=1, description="Latest products of a history that are read.")
    model: str = Field(default=MODEL_FILE, pattern=FILE_NAME, description="ONNX file.")
    precision: str = Field(description="Precision of the weights.")
    encoder: str = Field(description="Digest of the bi-encoder whose item vectors it reads and answers with.")
    report: dict[str, Any] = Field(default={}, description="What training measured, the parity of int8 among it.")


class History(NamedTuple):
    """A user's t products in any order: their unit vectors, shape (t, d), ages in days, shape (t,), and what was done,
    shape (t,): 1 view, 2 cart, 3 purchase. Without actions all are purchases."""

    items: NDArray[np.float32]
    age_days: NDArray[np.float32]
    actions: NDArray[np.int8] | None = None


class UserTower:
    """Encodes histories, for any number of threads; each call runs on its caller's thread."""

    def __init__(self, folder: Path, spec: UserTowerSpec) -> None:
        """Use `UserTower.open`."""
        self.folder = folder
        self.spec = spec
        self._session = session(folder / spec.model)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if {entry.name for entry in inputs} != set(INPUTS) or len(outputs) != 1:
            raise ModelError(f"{folder / spec.model}: is no user tower; run `tandem train users` again")
        self._output = outputs[0].name

    @classmethod
    def open(cls, folder: Path) -> "UserTower":
        """Raises ModelError when the folder does not hold a user tower of this format, whole."""
        spec = read_spec(folder, SPEC_FILE, UserTowerSpec, USER_TOWER)
        check_files([folder / spec.model])
        return cls(folder, spec)

    @cached_property
    def digest(self) -> str:
        """A SHA-256 over its files."""
        return files_digest([self.folder / SPEC_FILE, self.folder / self.spec.model])

    def vectors(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Unit vectors of n users, shape (n, d); of an empty history, the one that fits an unknown user best.

        A vector depends on its own history alone, not on what it is encoded with.
        """
        result = np.empty((len(histories), self.spec.dimensions), np.float32)
        for start in range(0, len(histories), _BATCH):
            batch = [latest(history, self.spec.most_products) for history in histories[start : start + _BATCH]]
            feed = padded_histories(batch, self.spec.dimensions)
            result[start : start + len(batch)] = self._session.run([self._output], feed)[0]
        return result


def latest(history: History, most: int) -> History:
    """The latest of the products, the latest first; those of one age stay in their order."""
    order = np.argsort(np.asarray(history.age_days), kind="stable")[:most]
    actions = np.full(len(order), PURCHASE, np.int8) if history.actions is None else history.actions[order]
    return History(history.items[order], np.maximum(history.age_days[order], 0), actions)


def padded_histories(histories: Sequence[History], dimensions: int) -> dict[str, NDArray[Any]]:
    """What the model is fed of n histories, whose actions are given: shapes (n, t, d) and (n, t), t at least 1."""
    lengths = np.fromiter((len(history.age_days) for history in histories), np.int64, len(histories))
    mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    items = np.zeros((*mask.shape, dimensions), np.float32)
    ages, actions = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.int64)
    if mask.any():
        items[mask] = np.concatenate([np.asarray(history.items).reshape(-1, dimensions) for history in histories])
        ages[mask] = np.concatenate([history.age_days for history in histories])
        actions[mask] = np.concatenate([history.actions for history in histories])
    return {ITEMS: items, AGES: ages, ACTIONS: actions, MASK: mask.astype(np.int64)}
