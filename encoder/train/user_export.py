"""Writes a user tower: int8 ONNX and spec, with the parity of both measured."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import ModelError
from encoder.train.user_tower import UserModel
from encoder.users.tower import INPUTS, MODEL_FILE, SPEC_FILE, History, UserTower, UserTowerSpec, padded_histories
from training.export import split_samples, write_fp32
from training.quantize import PRECISION, quantize_rows

LEAST_PARITY = 0.99


def export_user_tower(
    model: UserModel, histories: Sequence[History], encoder: str, most: int, report: dict[str, Any], output: Path
) -> dict[str, Any]:
    """Writes the model into `output`; returns `{"cosine_mean", "cosine_min", "histories"}`, how close int8 comes.

    `histories` are some of those it will read, with their actions, the latest first; half of them calibrate the
    rounding. `encoder` is the digest of the item tower. Raises ModelError where the mean cosine is below 0.99.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / SPEC_FILE).unlink(missing_ok=True)
    dimensions = model.add.out_features
    samples, others = split_samples(list(histories))
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        exact = Path(scratch) / "fp32.onnx"
        feed = padded_histories(samples[:2], dimensions)
        write_fp32(model, {name: torch.from_numpy(feed[name]) for name in INPUTS}, exact)
        feeds = [padded_histories([history], dimensions) for history in samples]
        quantize_rows(exact, Path(scratch) / MODEL_FILE, feeds=feeds)
        (Path(scratch) / MODEL_FILE).replace(output / MODEL_FILE)
    spec = UserTowerSpec(dimensions=dimensions, most_products=most, precision=PRECISION, encoder=encoder)
    (output / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n", "utf-8")
    parity = _parity(model, UserTower.open(output), others)
    if not parity["cosine_mean"] >= LEAST_PARITY:
        (output / SPEC_FILE).unlink()
        raise ModelError(f"int8 user vectors have a mean cosine of {parity['cosine_mean']:.3f} with the exact ones")
    spec = spec.model_copy(update={"report": report | {"int8": parity}})
    (output / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n", "utf-8")
    return parity


def _parity(model: UserModel, tower: UserTower, histories: Sequence[History]) -> dict[str, Any]:
    feed = padded_histories(list(histories), tower.spec.dimensions)
    with torch.no_grad():
        exact = model(*(torch.from_numpy(feed[name]) for name in INPUTS)).numpy()
    cosines = (exact * tower.vectors(histories)).sum(1)
    return {"cosine_mean": float(cosines.mean()), "cosine_min": float(cosines.min()), "histories": len(cosines)}


def example_histories(vectors: np.ndarray, histories: dict[str, np.ndarray]) -> list[History]:
    """Histories as serving gives them, of arrays of shape (n, t) whose items are rows of `vectors`, -1 for padding."""
    counts = histories["mask"].sum(1).tolist()
    return [
        History(
            vectors[histories["items"][place, :count]],
            histories["ages"][place, :count],
            histories["actions"][place, :count].astype(np.int8),
        )
        for place, count in enumerate(counts)
    ]
