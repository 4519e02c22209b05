"""The final score: boosted trees over what all stages said of a candidate."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.digest import file_digest, value_digest
from core.errors import ModelError
from core.plan import RERANK_DEPTH
from engine.onnx.trees import OnnxTrees

if TYPE_CHECKING:
    import lightgbm as lgb  # two seconds to load, so only where there is a final score

SPEC_FILE, TREES, PRERANK_TREES = "final.json", "trees", "first_trees"


class FinalSpec(BaseModel):
    """What the trees were made for. `report` is what training saw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[4] = 4
    features: tuple[str, ...] = Field(min_length=1)
    dense_weight: float = Field(ge=0, le=10, description="of the dense source's ranks in fusion")
    lexical_weight: float = Field(ge=0, le=10, description="of the lexical source's ranks in fusion")
    rerank_depth: int = Field(default=RERANK_DEPTH, ge=0, le=500, description="candidates worth rescoring")
    encoder: str = Field(description="digest of the towers whose similarities it learned of")
    ranker: str = Field(default="", description="digest of the cross-encoder, or empty")
    report: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Trees:
    """The same trees for ONNX Runtime, which scores sooner, and for LightGBM, which explains."""

    onnx: OnnxTrees
    booster: "lgb.Booster"

    @classmethod
    def open(cls, folder: Path, name: str) -> "Trees":
        """Raises ModelError for files that hold no trees."""
        import lightgbm as lgb

        onnx, text = tree_files(folder, name)
        try:
            return cls(OnnxTrees(onnx), lgb.Booster(model_file=str(text)))
        except lgb.basic.LightGBMError as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{text}: holds no trees: {reason}; run `tandem train final` again") from None

    @property
    def features(self) -> set[int]:
        """How many they take; both ways the same, or they are not the same trees."""
        return {self.onnx.features, self.booster.num_feature()}


class FinalScore:
    """Trees that rank candidates, for any number of threads. Scores tell an order and are no probabilities.

    There are two sets: the first ranks before the cross-encoder has spoken, and where it does not speak at all.
    """

    def __init__(self, folder: Path, spec: FinalSpec, first: Trees, trees: Trees) -> None:
        self.folder = folder
        self.spec = spec
        self._first = first
        self._trees = trees

    @classmethod
    def open(cls, folder: Path) -> "FinalScore":
        """Reads what `tandem train final` left. Raises ModelError when it is something else."""
        try:
            spec = FinalSpec.model_validate_json((folder / SPEC_FILE).read_text())
        except FileNotFoundError:
            raise ModelError(f"{folder} holds no {SPEC_FILE}; give a folder that `tandem train final` left") from None
        except ValidationError as error:
            wrong = error.errors()[0]
            reason = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
            raise ModelError(
                f"{folder} is no final score that this version reads ({reason}); run `tandem train final` again, if a "
                "release holds it after `tandem index --encoder … --ranker …`, which leaves it out"
            ) from None
        first, trees = (Trees.open(folder, name) for name in (PRERANK_TREES, TREES))
        if first.features | trees.features != {len(spec.features)}:
            raise ModelError(f"{folder}: its trees and {SPEC_FILE} do not agree; train it again")
        return cls(folder, spec, first, trees)

    def check(self, encoder: str, ranker: str) -> None:
        """Raises ModelError when its trees were made for other models than those of these digests."""
        if (self.spec.encoder, self.spec.ranker) != (encoder, ranker):
            raise ModelError(
                f"{self.folder}: this final score was trained with other models; run `tandem train final` with these"
            )

    def files(self) -> list[Path]:
        """All it is made of."""
        trees = (tree_files(self.folder, name) for name in (PRERANK_TREES, TREES))
        return [self.folder / SPEC_FILE, *chain.from_iterable(trees)]

    @property
    def digest(self) -> str:
        """Of its files."""
        return value_digest([file_digest(path) for path in self.files()])

    def scores(self, features: NDArray[np.float32], rescored: bool) -> NDArray[np.float32]:
        """Scores, shape (c,), of c candidates' features, shape (c, f) in the order of the spec's.

        `rescored`: whether the cross-encoder spoke of any. Those it did not speak of then count as not worth it.
        """
        return self._ranking(rescored).onnx.scores(features)

    def contributions(self, features: NDArray[np.float32], rescored: bool) -> NDArray[np.float32]:
        """How much each feature raises or lowers each score, shape (c, f): Shapley values of the trees that ranked.

        With a constant they sum up to the score (Lundberg and others, "From local explanations to global understanding
        with explainable AI for trees", Nature Machine Intelligence 2020).
        """
        found = self._ranking(rescored).booster.predict(features, num_threads=1, pred_contrib=True)
        return np.asarray(found, np.float32)[:, :-1]

    def _ranking(self, rescored: bool) -> Trees:
        return self._trees if rescored else self._first


def tree_files(folder: Path, name: str) -> tuple[Path, Path]:
    """A set of trees as ONNX Runtime and as LightGBM reads it."""
    return folder / f"{name}.onnx", folder / f"{name}.txt"
