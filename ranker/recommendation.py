"""The learned order of recommendations: boosted trees over `ranker.recommendation_features`, as a folder."""

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ModelError
from core.formats import RECOMMENDATION_SCORE
from ranker.features import unknown_features
from ranker.final import Trees
from ranker.recommendation_features import RECOMMENDATION_NAMES

SPEC_FILE, TREES = "recommendation.json", "trees"
_REMAKE = "run `tandem train users`"


class Limits(BaseModel):
    """How many candidates each source returns, at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repurchase: int = Field(default=50, ge=0, le=1000, description="Latest products of the history.")
    bought_together: int = Field(
        default=60, ge=0, le=1000, description="Products bought with the history's, and as many of those bought later."
    )
    same_group: int = Field(default=10, ge=0, le=1000, description="Variants of each product of the history.")
    user_tower: int = Field(default=60, ge=0, le=1000, description="Products nearest to the user tower's vector.")
    popular: int = Field(default=60, ge=0, le=1000, description="Popular products.")


class RecommendationSpec(BaseModel):
    """What the order was trained for. `features` are its columns, by name; `report` is what training measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="Format of the spec.")
    features: tuple[str, ...] = Field(min_length=1, description="Names of the features, in the order of the inputs.")
    limits: Limits = Field(default=Limits(), description="Candidates of each source that it was trained on.")
    prices: Literal["catalog", "paid"] = Field(
        description="Which prices its features compare: the catalog's, or the median that was paid."
    )
    encoder: str = Field(description="Digest of the bi-encoder whose cosines it was trained on.")
    report: dict[str, Any] = Field(default={}, description="Report of the training.")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The spec that a folder holds. Raises ModelError when it holds none that this version reads."""
        try:
            data = (folder / SPEC_FILE).read_bytes()
            if problem := RECOMMENDATION_SCORE.problem_of(data, _REMAKE):
                raise ModelError(f"{folder}: {problem}")
            return cls.model_validate_json(data)
        except (FileNotFoundError, NotADirectoryError):
            raise ModelError(f"{folder} holds no {SPEC_FILE}; give a folder that `tandem train users` left") from None
        except ValidationError as error:
            fault = error.errors()[0]
            reason = f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            raise ModelError(
                f"{folder} is no order of recommendations that this version reads ({reason}); {_REMAKE} again"
            ) from None


class RecommendationScore:
    """Orders candidates, for any number of threads. Scores define an order; they are no probabilities."""

    def __init__(self, folder: Path, spec: RecommendationSpec, trees: Trees) -> None:
        """Use `RecommendationScore.open`."""
        self.folder = folder
        self.spec = spec
        self._trees = trees
        self._columns = [RECOMMENDATION_NAMES.index(name) for name in spec.features]

    @classmethod
    def open(cls, folder: Path) -> "RecommendationScore":
        """Reads what `tandem train users` left in `users/final`. Raises ModelError when it is something else."""
        spec = RecommendationSpec.read(folder)
        if unknown := unknown_features(spec.features, RECOMMENDATION_NAMES):
            raise ModelError(
                f"{folder}: this version does not know the features {', '.join(unknown)}: upgrade Tandem, or {_REMAKE} "
                "with this version"
            )
        trees = Trees(folder, TREES, _REMAKE)
        if trees.features != len(spec.features):
            raise ModelError(f"{folder}: its trees and {SPEC_FILE} do not agree; {_REMAKE} again")
        return cls(folder, spec, trees)

    def scores(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores, shape (c,), of c candidates' features, shape (c, f) in the order of the schema."""
        return self._trees.scores(np.ascontiguousarray(table[:, self._columns]))

    def contributions(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much each feature raises or lowers each score, shape (c, f); see `FinalScore.contributions`."""
        result = np.zeros(table.shape, np.float32)
        result[:, self._columns] = self._trees.contributions(np.ascontiguousarray(table[:, self._columns]))
        return result
