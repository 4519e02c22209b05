"""The result of training on a shop's judgments, stored beside the models; loads no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.digest import file_digest, value_digest
from core.releases import ReleaseStore

IMPROVED_FILE = "improved.json"
_TRAINED = "trained"  # of the release folder


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """The files of a shop. Without judgments nothing can be learned from it."""

    catalog: Path
    mapping: Path | None
    judgments: Path | None

    @property
    def files(self) -> list[Path]:
        """The files that exist."""
        return [path for path in (self.catalog, self.mapping, self.judgments) if path]


class MeanInterval(BaseModel):
    """A mean of queries and its 95% interval."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Mapping[str, float]) -> "MeanInterval":
        """The mean and interval of the queries' values."""
        from evaluation.measures import (
            estimate,  # ir-measures comes with what training needs, and serving begins without
        )

        result = estimate(list(values.values()))
        return cls(mean=result.mean, low=result.low, high=result.high)


class Improvement(BaseModel):
    """nDCG@10 of the served order on held-out queries, before training and after.

    `release` is the published one, None where what was trained ranks worse than what serves and was not published.
    """

    model_config = ConfigDict(frozen=True)

    catalog: str
    split: str
    queries: int
    before: MeanInterval
    after: MeanInterval
    gain: MeanInterval
    p: float
    replaced: str
    release: str | None = None

    @classmethod
    def compare(
        cls, catalog: str, split: str, replaced: str, before: Mapping[str, float], after: Mapping[str, float]
    ) -> "Improvement":
        """Compares query by query; nothing is published yet."""
        from evaluation.comparison import paired

        result = paired(before, after)
        gain = MeanInterval(mean=result.difference.mean, low=result.difference.low, high=result.difference.high)
        return cls(
            catalog=catalog, split=split, queries=len(before), before=MeanInterval.from_values(before),
            after=MeanInterval.from_values(after), gain=gain, p=result.p, replaced=replaced,
        )  # fmt: skip

    @property
    def better(self) -> bool:
        """Whether what was trained may serve."""
        return self.after.mean >= self.before.mean

    def is_current(self, store: ReleaseStore) -> bool:
        """Whether its result still holds: the release still exists, or none was published."""
        return self.release is None or store.path(self.catalog, self.release).is_dir()


def trained_folder(shop: ShopFiles, store: ReleaseStore) -> Path:
    """The folder for models trained on these files."""
    digests = [file_digest(path) for path in shop.files]
    return store.root / _TRAINED / value_digest([digests, version("tandem-retrieval")])[:12]


def read_improvement(folder: Path) -> Improvement | None:
    """The result of the training in this folder; None before it is done."""
    try:
        return Improvement.model_validate_json((folder / IMPROVED_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):  # an earlier version's file is written again
        return None


def write_json(path: Path, value: Any) -> None:
    """Writes the file atomically."""
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(value, indent=2) + "\n")
    scratch.replace(path)
