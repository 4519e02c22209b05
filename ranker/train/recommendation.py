"""Learns the order of recommendations: boosted trees (LightGBM) over tables of candidates, one for each user.

They estimate how probably each candidate is bought (binary cross-entropy): with few users that orders better, and with
less scatter, than LambdaMART, which learns from pairs of candidates of one user alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from ranker.final import tree_files
from ranker.recommendation import SPEC_FILE, TREES, RecommendationSpec

_EVALUATED = 12
_OBJECTIVE = re.compile(r"^(\[objective: |objective=)binary[^]\n]*", re.MULTILINE)
_HELD_OUT = 5  # every so many-th user decides how many trees there are
_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class UserTable:
    """One user's candidates: features, shape (c, f), and which of them were bought, shape (c,)."""

    features: NDArray[np.float32]
    bought: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """The knobs of boosting; see `lifecycle.users.settings`."""

    leaves: int
    least: int
    rounds: int
    learning_rate: float
    threads: int
    seed: int


def learn_order(tables: Sequence[UserTable], features: Sequence[str], settings: TreeSettings) -> lgb.Booster:
    """Trees, as many as order the candidates of held-out users best. At least two users have to have bought one."""
    order = np.random.default_rng(settings.seed).permutation(len(tables))
    held = np.zeros(len(tables), bool)
    held[order[: max(1, len(tables) // _HELD_OUT)]] = True
    train = _dataset([table for table, out in zip(tables, held, strict=True) if not out], features)
    valid = _dataset([table for table, out in zip(tables, held, strict=True) if out], features, train)
    stop = lgb.early_stopping(_PATIENCE, first_metric_only=True, verbose=False)
    booster = lgb.train(_parameters(settings), train, settings.rounds, valid_sets=[valid], callbacks=[stop])
    text = booster.model_to_string(num_iteration=max(1, booster.best_iteration))
    # As a regression, whose score is the sum of leaves: a probability orders alike, and has two outputs in ONNX.
    return lgb.Booster(model_str=_OBJECTIVE.sub(r"\1regression", text))


def write_order(folder: Path, spec: RecommendationSpec, booster: lgb.Booster) -> None:
    """Writes the trees for ONNX Runtime and for LightGBM, and then the spec."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC_FILE).unlink(missing_ok=True)
    onnx, text = tree_files(folder, TREES)
    booster.save_model(str(text))
    inputs = [("features", FloatTensorType([None, booster.num_feature()]))]
    onnx.write_bytes(convert_lightgbm(booster, TREES, inputs).SerializeToString())
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n", "utf-8")


def _parameters(settings: TreeSettings) -> dict[str, object]:
    return {
        "objective": "binary",
        "metric": "map",
        "eval_at": [_EVALUATED],
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.least,
        "learning_rate": settings.learning_rate,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "seed": settings.seed,
        "num_threads": settings.threads,
        "deterministic": True,
        "verbosity": -1,
    }


def _dataset(tables: Sequence[UserTable], features: Sequence[str], reference: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(
        np.concatenate([table.features for table in tables]),
        np.concatenate([table.bought for table in tables]).astype(np.int32),
        group=[len(table.bought) for table in tables],
        feature_name=list(features),
        reference=reference,
    )
