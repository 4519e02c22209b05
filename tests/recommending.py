"""A shop of five products with behaviour, for tests of recommendations."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from retrieval.recommend.behaviour import POPULAR_SCHEMA, PRODUCTS_SCHEMA, Behaviour, BehaviourSpec, write_behaviour

SPEC = BehaviourSpec(
    time=1_000_000,
    half_life_days=7,
    history_days=7,
    most_history=50,
    again_days=(1, 7, 30),
    again_rates=(0.2, 0.1, 0.05),
    segments=("age=young",),
    channels=("web",),
    encoder="e",
)
# Places: 0 cup, 1 pan, 2 pot, 3 éclair.
ROWS = [
    ("cup", 3.0, 1.0, 4, 3, 10, 900, 2.5, 2.0, [1, 2], [0.5, 0.25], [2], [0.125]),
    ("pan", 1.0, 0.0, 1, 1, 20, 800, float("nan"), 1.0, [0], [0.5], [], []),
    ("pot", 2.0, 2.0, 2, 2, 30, 700, 9.0, 0.5, [0], [0.25], [], []),
    ("éclair", 0.5, 0.5, 1, 1, 40, 600, 1.0, 9.0, [], [], [], []),
]
POPULAR = [("", "", [0, 2, 1, 3], [3.0, 2.0, 1.0, 0.5]), ("", "web", [2], [2.0]), ("age=young", "", [3], [0.5])]


def write(folder: Path, rows: list[Any] = ROWS, popular: list[Any] = POPULAR, spec: BehaviourSpec = SPEC) -> Path:
    """The folder, with the behaviour written into it."""
    write_behaviour(folder, spec, _table(rows, PRODUCTS_SCHEMA), _table(popular, POPULAR_SCHEMA))
    return folder


def make_behaviour(folder: Path) -> Behaviour:
    """The behaviour of the shop, opened."""
    return Behaviour.open(write(folder))


def unit_vectors(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """Random unit vectors, (rows, dimensions)."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _table(rows: list[Any], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
