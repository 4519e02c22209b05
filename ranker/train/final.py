"""Learns the final score: LambdaMART (LightGBM) over tables of candidates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from pydantic import BaseModel, ConfigDict, Field

from core.plan import RERANK_DEPTH
from ranker.final import PRERANK_TREES, SPEC_FILE, TREES, FinalSpec, tree_files

_EVALUATED = 10


class FinalTraining(BaseModel):
    """Knobs of the final score."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    candidates: int = Field(default=100, ge=10, le=2000, description="Products of each source to train on.")
    rerank_depth: int = Field(
        default=RERANK_DEPTH,
        ge=0,
        le=500,
        description="Rescored candidates of a query, at most; the others have no cross-encoder score.",
    )
    depth_loss: float = Field(
        default=0.003,
        ge=0,
        le=1,
        description="nDCG@10 that a smaller rerank depth may cost, at the lower bound of its 95% interval.",
    )
    leaves: int = Field(default=15, ge=2, le=255, description="Leaves of a tree.")
    least: int = Field(default=100, ge=1, description="Candidates in a leaf, at least.")
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="Learning rate of boosting.")
    rounds: int = Field(default=400, ge=1, description="Trees, at most.")
    patience: int = Field(
        default=40, ge=1, description="Trees without a gain on held-out queries after which boosting stops."
    )
    folds: int = Field(
        default=5, ge=2, description="Folds of queries that the number of trees and the reported gain are measured on."
    )
    threads: int = Field(default=1, ge=0, description="Threads; 0: one for each core.")
    seed: int = Field(default=0, description="Seed of all random choices.")


@dataclass(frozen=True, slots=True)
class QueryTable:
    """One query's candidates: features, shape (c, f), and the gain of each, shape (c,); 0 without a judgment."""

    features: NDArray[np.float32]
    gains: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CrossValidatedTrees:
    """The trees; and those trained without one fold's queries, with the fold of each query. Each has `count` trees."""

    trees: lgb.Booster
    folds: list[lgb.Booster]
    fold_of: NDArray[np.int64]
    count: int

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of an unseen query's candidates, shape (c, f) -> (c,)."""
        return np.asarray(self.trees.predict(features, num_threads=1), np.float32)

    def held_out(self, features: Iterable[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Scores of each query's candidates, shape (c, f) -> (c,), by trees that were not trained on the query.

        Their number did: to choose by these scores is fair, to report them is not.
        """
        return [
            np.asarray(self.folds[fold].predict(rows, num_threads=1, num_iteration=self.count), np.float32)
            for fold, rows in zip(self.fold_of.tolist(), features, strict=True)
        ]


def assign_folds(count: int, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each of so many queries, all folds of nearly one size."""
    return np.random.default_rng(seed).permutation(count) % folds


def learn(tables: Sequence[QueryTable], features: Mapping[str, int], settings: FinalTraining) -> CrossValidatedTrees:
    """Trees of all tables, as many as were best on held-out queries.

    `features` names the columns, and whether more of each may only raise (1) or lower (-1) the score, or both (0).
    """
    fold_of = assign_folds(len(tables), settings.folds, settings.seed)
    levels = np.unique(np.concatenate([[0.0], *(table.gains for table in tables)]))
    parameters = _parameters(settings, list(features.values()), levels)
    folds = []
    for fold in range(settings.folds):
        outside = np.flatnonzero(fold_of == fold).tolist()
        inside = np.flatnonzero(fold_of != fold).tolist()
        train = _dataset([tables[place] for place in inside], features, levels)
        stop = lgb.early_stopping(settings.patience, first_metric_only=True, verbose=False)
        valid = _dataset([tables[place] for place in outside], features, levels, train)
        folds.append(lgb.train(parameters, train, settings.rounds, valid_sets=[valid], callbacks=[stop]))
    count = max(1, round(float(np.mean([trees.best_iteration for trees in folds]))))
    return CrossValidatedTrees(lgb.train(parameters, _dataset(tables, features, levels), count), folds, fold_of, count)


def write_final(
    folder: Path, spec: FinalSpec, first: lgb.Booster | None = None, trees: lgb.Booster | None = None
) -> None:
    """Writes all files of a final score; the spec comes last. In ONNX thresholds are float32, as features are.

    One that ranks by the weights of its spec has no trees.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, booster in ((PRERANK_TREES, first), (TREES, trees)):
        onnx, text = tree_files(folder, name)
        if booster is None:
            onnx.unlink(missing_ok=True)
            text.unlink(missing_ok=True)
            continue
        booster.save_model(str(text))
        inputs = [("features", FloatTensorType([None, booster.num_feature()]))]
        onnx.write_bytes(convert_lightgbm(booster, name, inputs).SerializeToString())
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def _parameters(settings: FinalTraining, constraints: list[int], levels: NDArray[np.float64]) -> dict[str, object]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [_EVALUATED],
        "label_gain": levels.tolist(),
        "lambdarank_truncation_level": 2 * _EVALUATED,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.least,
        "learning_rate": settings.learning_rate,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "monotone_constraints": constraints,
        "seed": settings.seed,
        "num_threads": settings.threads,
        "deterministic": True,
        "verbosity": -1,
    }


def _dataset(
    tables: Sequence[QueryTable],
    features: Mapping[str, int],
    levels: NDArray[np.float64],
    reference: lgb.Dataset | None = None,
) -> lgb.Dataset:
    return lgb.Dataset(
        np.concatenate([table.features for table in tables]),
        np.searchsorted(levels, np.concatenate([table.gains for table in tables])),
        group=[len(table.gains) for table in tables],
        feature_name=list(features),
        reference=reference,
    )
