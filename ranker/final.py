"""The final score: boosted trees, or a weighted sum, over the features of a candidate; see `ranker.features`."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.digest import file_digest, value_digest
from core.errors import MissingPackageError, ModelError
from core.formats import FINAL_SCORE
from core.plan import RERANK_DEPTH
from engine.onnx.trees import OnnxTrees
from ranker.features import FEATURE_NAMES, names_of_labels, unknown_features
from ranker.linear import LinearScore

if TYPE_CHECKING:
    import lightgbm as lgb

_REMAKE = "run `tandem train final`"
_LEAVE_OUT = "`tandem index --encoder … --ranker …` makes a release without it"

SPEC_FILE, TREES, PRERANK_TREES = "final.json", "trees", "first_trees"
_LAST_FEATURE = re.compile(r"^max_feature_idx=(\d+)$", re.MULTILINE)  # of the header of LightGBM's own format


class FinalSpec(BaseModel):
    """What the score was trained for. `features` are its columns, by name; `report` is what training measured.

    A score is either trees, in files of their own, or the weights here. Format 4 named features by their labels; it is
    read as format 5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[5] = Field(default=5, description="Format of the spec.")
    features: tuple[str, ...] = Field(
        min_length=1, description="Names of the features, in the order of the trees' inputs."
    )
    first_weights: dict[str, float] = Field(
        default={}, description="Of a linear score: weight of each feature before rescoring, and without it."
    )
    weights: dict[str, float] = Field(
        default={}, description="Of a linear score: weight of each feature after rescoring; empty where trees rank."
    )
    dense_weight: float = Field(ge=0, le=10, description="Weight of dense ranks in fusion.")
    lexical_weight: float = Field(ge=0, le=10, description="Weight of lexical ranks in fusion.")
    rerank_depth: int = Field(default=RERANK_DEPTH, ge=0, le=500, description="Candidates that are rescored.")
    encoder: str = Field(
        description="Digest of the bi-encoder whose cosines it was trained on; empty where it goes with any, since it "
        "was learned from several shops."
    )
    ranker: str = Field(
        default="",
        description="Digest of the cross-encoder whose scores the trees were trained on; empty where there was none.",
    )
    report: dict[str, Any] = Field(default={}, description="Report of the training.")

    @model_validator(mode="before")
    @classmethod
    def _name_features(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("format") == 4 and isinstance(data.get("features"), list):
            return data | {"format": 5, "features": names_of_labels(data["features"])}
        return data

    @model_validator(mode="after")
    def _weigh_features(self) -> Self:
        if bool(self.weights) != bool(self.first_weights):
            raise ValueError("weights and first_weights go together")
        if unknown := {*self.weights, *self.first_weights} - {*self.features}:
            raise ValueError(f"weights of features that it does not have: {', '.join(sorted(unknown))}")
        return self

    @property
    def portable(self) -> bool:
        """Whether it goes with other models than those it was trained with."""
        return not self.encoder

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The spec that a folder holds. Raises ModelError when it holds none that this version reads."""
        try:
            data = (folder / SPEC_FILE).read_bytes()
            if problem := FINAL_SCORE.problem_of(data, _REMAKE):
                raise ModelError(f"{folder}: {problem}; {_LEAVE_OUT}")
            return cls.model_validate_json(data)
        except FileNotFoundError:
            raise ModelError(f"{folder} holds no {SPEC_FILE}; give a folder that `tandem train final` left") from None
        except ValidationError as error:
            fault = error.errors()[0]
            reason = f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            raise ModelError(
                f"{folder} is no final score that this version reads ({reason}); {_REMAKE} again; {_LEAVE_OUT}"
            ) from None


class Trees:
    """The same trees for ONNX Runtime, which scores sooner, and for LightGBM, which explains and takes long to load."""

    def __init__(self, folder: Path, name: str, remake: str = _REMAKE) -> None:
        """Raises ModelError for files that hold no trees, or not the same number of features. `remake` is how they are
        made again."""
        self._remake = remake
        onnx, self._text = tree_files(folder, name)
        self.onnx = OnnxTrees(onnx, remake)
        self.features = self.onnx.features
        last = _LAST_FEATURE.search(self._text.read_text(errors="replace"))
        if last is None:
            raise self._damaged("it names no features")
        if int(last[1]) + 1 != self.features:
            raise ModelError(f"{folder}: {onnx.name} and {self._text.name} do not agree; train it again")

    def scores(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores, shape (c,), of c rows of features, shape (c, f)."""
        return self.onnx.scores(table)

    def contributions(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each feature adds to each score, shape (c, f). Raises what `booster` raises."""
        values = np.asarray(self.booster.predict(table, num_threads=1, pred_contrib=True), np.float32)
        return values[:, :-1]

    @cached_property
    def booster(self) -> "lgb.Booster":
        """Raises MissingPackageError without LightGBM, ModelError where it cannot read the trees."""
        try:
            import lightgbm as lgb
        except ModuleNotFoundError:
            raise MissingPackageError("explaining scores", "explain") from None
        try:
            return lgb.Booster(model_file=str(self._text))
        except lgb.basic.LightGBMError as error:
            raise self._damaged(str(error).splitlines()[0]) from None

    def _damaged(self, reason: str) -> ModelError:
        return ModelError(f"{self._text}: holds no trees: {reason}; {self._remake} again")


class FinalScore:
    """Ranks candidates by trees or weights, for any number of threads. Scores define an order; they are no
    probabilities.

    There are two sets: the first ranks before the cross-encoder has spoken, and where it does not speak at all.
    """

    def __init__(
        self,
        folder: Path,
        spec: FinalSpec,
        first: Trees | LinearScore,
        last: Trees | LinearScore,
        schema: Sequence[str] = FEATURE_NAMES,
    ) -> None:
        """Use `FinalScore.open`."""
        self.folder = folder
        self.spec = spec
        self._first = first
        self._last = last
        self._width = len(schema)
        # Its columns among those of the schema; None where they are the same.
        self._columns = None if spec.features == tuple(schema) else [schema.index(name) for name in spec.features]

    @classmethod
    def open(cls, folder: Path, schema: Sequence[str] = FEATURE_NAMES) -> "FinalScore":
        """Reads what `tandem train final` left; `schema` names the columns of the tables that it will score.

        Raises ModelError when it is something else, or has features that the schema lacks.
        """
        spec = FinalSpec.read(folder)
        if unknown := unknown_features(spec.features, schema):
            raise ModelError(
                f"{folder}: this version does not know the final score's features {', '.join(unknown)}: "
                f"upgrade Tandem, or {_REMAKE} with this version"
            )
        if spec.weights:
            before, after = (LinearScore(weights, spec.features) for weights in (spec.first_weights, spec.weights))
            return cls(folder, spec, before, after, schema)
        first, trees = (Trees(folder, name) for name in (PRERANK_TREES, TREES))
        if {first.features, trees.features} != {len(spec.features)}:
            raise ModelError(f"{folder}: its trees and {SPEC_FILE} do not agree; train it again")
        return cls(folder, spec, first, trees, schema)

    def check(self, encoder: str, ranker: str) -> None:
        """Raises ModelError when it was made for other models than those of these digests.

        A portable one goes with any towers, and with any cross-encoder or none where it has nothing rescored.
        """
        if self.spec.portable and (not self.spec.rerank_depth or self.spec.ranker in ("", ranker)):
            return
        if (self.spec.encoder, self.spec.ranker) != (encoder, ranker):
            raise ModelError(
                f"{self.folder}: this final score was trained with other models; run `tandem train final` with these"
            )

    def files(self) -> list[Path]:
        """All it is made of."""
        if self.spec.weights:
            return [self.folder / SPEC_FILE]
        trees = (tree_files(self.folder, name) for name in (PRERANK_TREES, TREES))
        return [self.folder / SPEC_FILE, *chain.from_iterable(trees)]

    @property
    def digest(self) -> str:
        """The digest of its files."""
        return value_digest([file_digest(path) for path in self.files()])

    def scores(self, table: NDArray[np.float32], rescored: bool) -> NDArray[np.float32]:
        """Scores, shape (c,), of c candidates' features, shape (c, f) in the order of the schema.

        `rescored`: whether the cross-encoder scored any of them. Those that it did not score count as not worth it.
        """
        return self._ranking(rescored).scores(self._own_columns(table))

    def contributions(self, table: NDArray[np.float32], rescored: bool) -> NDArray[np.float32]:
        """How much each feature raises or lowers each score, shape (c, f): Shapley values of the trees that ranked, or
        each feature by its weight; 0 for features that the score does not take.

        With a constant they sum up to the score (Lundberg and others, "From local explanations to global understanding
        with explainable AI for trees", Nature Machine Intelligence 2020). Raises MissingPackageError without LightGBM.
        """
        values = self._ranking(rescored).contributions(self._own_columns(table))
        if self._columns is None:
            return values
        result = np.zeros((len(table), self._width), np.float32)
        result[:, self._columns] = values
        return result

    def _own_columns(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        return table if self._columns is None else np.ascontiguousarray(table[:, self._columns])

    def _ranking(self, rescored: bool) -> Trees | LinearScore:
        return self._last if rescored else self._first


def tree_files(folder: Path, name: str) -> tuple[Path, Path]:
    """A set of trees as ONNX Runtime and as LightGBM reads it."""
    return folder / f"{name}.onnx", folder / f"{name}.txt"
