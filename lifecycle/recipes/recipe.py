"""The recipe model: a whole training as one value. Loads torch."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.errors import TandemError
from core.plan import RERANK_DEPTH
from core.strings import quoted
from encoder.train.settings import EncoderTraining
from lifecycle.examples.augment import Augmentation
from lifecycle.examples.mining import Mining
from lifecycle.final_score.settings import FinalScoreStage
from lifecycle.training.negatives import RETRIEVED
from ranker.train.compress import RankerDistillation
from ranker.train.settings import RankerTraining
from training.settings import TrainingSettings

# What is paced, in the order in which it is trained.
Stage = Literal["towers", "second_round", "ranker", "final_stage", "student"]
STAGES: tuple[Stage, ...] = ("towers", "second_round", "ranker", "final_stage", "student")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RecipeSource(_Frozen):
    """A shop to learn from. Paths are below the data folder; a mapping may also be one that comes with Tandem."""

    name: str = Field(description="Name of the source; it prefixes product ids.")
    catalog: str = Field(description="Feed, below the data folder.")
    judgments: str | None = Field(
        default=None, description="Judgments, below the data folder; none: only made-up queries are trained on."
    )
    mapping: str | None = Field(
        default=None,
        description=(
            "Mapping of the feed, below the data folder, or one that comes with Tandem; none: usual names of columns."
        ),
    )
    pseudo: int = Field(default=0, ge=0, description="Queries to make up from titles and attributes.")
    final_only: bool = Field(
        default=False, serialization_alias="late", description="Train on its judgments in the final stage alone."
    )

    @model_validator(mode="after")
    def _something(self) -> "RecipeSource":
        if self.judgments is None and not self.pseudo:
            raise ValueError(f"source {self.name} has neither judgments nor made-up queries; give one of them")
        return self


class FinalStage(_Frozen):
    """The final stage: trains on the sources marked `final_only`, and on some of the others again, as a replay."""

    replay: int = Field(ge=0, description="Train queries of the other sources to train on again.")
    replay_valid: int = Field(default=100, ge=0, description="Valid queries of the other sources to validate on.")
    towers: EncoderTraining = Field(description="Training of the bi-encoder in the final stage.")
    ranker: RankerTraining = Field(description="Training of the cross-encoder in the final stage.")


class Compression(_Frozen):
    """How the served ranker is distilled from the trained one."""

    candidates: int = Field(default=10, ge=0, description="Products of a query and source that the teacher scores.")
    final_candidates: int = Field(
        default=60, ge=0, description="The same for sources of the final stage, which have few queries."
    )
    student: RankerDistillation = Field(description="Distillation of the cross-encoder that is served.")


class Work(_Frozen):
    """How long a stage takes, in steps of `encoder/train/pace.py`."""

    learning: float = Field(
        default=0.0, ge=0, description="Training and validation, in steps; a recipe that lasts too long shortens them."
    )
    other: float = Field(default=0.0, ge=0, description="Mining, retrieval and sources of the final stage, in steps.")


class CostModel(_Frozen):
    """How long a recipe takes, stage by stage. The student's share is thrice that of the others, at most all."""

    towers: Work = Field(description="Work of the first training of the bi-encoder.")
    second_round: Work = Field(
        default=Work(), serialization_alias="mined", description="Work of the second training of the bi-encoder."
    )
    ranker: Work = Field(description="Work of training the cross-encoder.")
    final_stage: Work = Field(default=Work(), serialization_alias="late", description="Work of the final stage.")
    student: Work = Field(default=Work(), description="Work of the distillation.")

    def steps(self, share: float = 1.0, stages: Sequence[Stage] = STAGES) -> float:
        """The time of these stages, with this share of their steps."""
        works = [(getattr(self, stage), _students(share) if stage == "student" else share) for stage in stages]
        return sum(work.other + work.learning * some for work, some in works)

    def minutes(self, step: float, share: float = 1.0, stages: Sequence[Stage] = STAGES) -> float:
        """The same, where a step takes so many seconds."""
        return self.steps(share, stages) * step / 60

    def share(self, minutes: float, step: float, stages: Sequence[Stage] = STAGES) -> float:
        """The share of the steps that fits the time, in steps of 1/40, since measured speeds vary a little."""
        shares = [part / _PARTS for part in range(_PARTS, 0, -1)]
        return next((share for share in shares if self.minutes(step, share, stages) <= minutes), shares[-1])


class Recipe(_Frozen):
    """A whole training. `second_round` trains the bi-encoder again, on hard negatives of the first round's."""

    name: str = Field(description="Name of the recipe.")
    encoder_bases: tuple[str, ...] = Field(
        default=(), description="Folders or hub ids that the towers start from, the preferred one first; none: MiniLM."
    )
    ranker_bases: tuple[str, ...] = Field(
        default=(), description="The same for the cross-encoder; where none can be had, it is the packaged MiniLM."
    )
    sources: tuple[RecipeSource, ...] = Field(min_length=1, description="Sets to train on; each is a table as below.")
    augmentation: Augmentation | None = Field(
        default=None, description="Variations of train queries; none: queries stay as they are."
    )
    towers: EncoderTraining = Field(description="First training of the bi-encoder.")
    mining: Mining | None = Field(
        default=None, description="How hard negatives are mined; none: no negatives are mined."
    )
    second_round: EncoderTraining | None = Field(
        default=None, description="Second training of the bi-encoder, on mined negatives; none: there is one training."
    )
    ranker: RankerTraining | None = Field(
        default=None, description="Training of the cross-encoder; none: the models have none, and nothing is rescored."
    )
    ranker_from: Literal["any", "cross-encoder"] = Field(
        default="any",
        description=(
            "What the cross-encoder is trained from: any model, or only one that already is a cross-encoder; without "
            "one, none is trained."
        ),
    )
    retrieved: int = Field(
        default=RETRIEVED, ge=0, description="Retrieved products of a query among which the cross-encoder is validated."
    )
    rerank_depth: int = Field(
        default=RERANK_DEPTH, ge=0, le=500, description="Candidates that the final score has rescored, at most."
    )
    final_stage: FinalStage | None = Field(
        default=None, description="Final stage, which trains on the sources marked for it; none: there are none."
    )
    compression: Compression | None = Field(
        default=None, description="Distillation of a smaller cross-encoder to serve; none: the trained one is served."
    )
    final: FinalScoreStage | None = Field(
        default=None, description="A final score of all sources, at the end; none: the models have none."
    )
    effort: CostModel | None = Field(
        default=None,
        description="Measured work of each stage on the recipe's own sources; none: the recipe is never shortened.",
    )
    minutes: float | None = Field(
        default=None, gt=0, description="Minutes that the whole may take; longer recipes train on less. None: no bound."
    )

    @model_validator(mode="after")
    def _agree(self) -> "Recipe":
        if self.second_round and not self.mining:
            raise ValueError("second_round: a second round needs mining; say how to mine, or leave the round out")
        if not any(source.judgments and not source.final_only for source in self.sources):
            raise ValueError("sources: none has judgments for the stages before the last; give one")
        if self.compression and not self.ranker:
            raise ValueError("compression: a served ranker is distilled from a trained one; give ranker too")
        if any(source.final_only for source in self.sources) != (self.final_stage is not None):
            raise ValueError("final_stage: sources marked final_only and the settings of the final stage go together")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of this recipe."""
        optional = {
            "second_round": self.second_round,
            "ranker": self.ranker,
            "final_stage": self.final_stage,
            "student": self.compression,
        }
        return tuple(stage for stage in STAGES if optional.get(stage, True) is not None)

    @property
    def models(self) -> tuple[str, ...]:
        """The folders of models that the recipe leaves; the last may be left out where too little is there for it."""
        there = {"encoder": True, "ranker": self.ranker, "final": self.final}
        return tuple(name for name, model in there.items() if model)

    def on(self, catalog: str, judgments: str, mapping: str | None = None) -> "Recipe":
        """The same training on one shop's files in place of its own sources."""
        early = next(source for source in self.sources if source.judgments and not source.final_only)
        shop = RecipeSource(name="shop", catalog=catalog, judgments=judgments, mapping=mapping, pseudo=early.pseudo)
        return self.model_copy(update={"sources": (shop,), "final_stage": None, "final": None, "ranker_from": "any"})

    def without(self, name: str) -> "Recipe":
        """The same without one source, or one world of the final score, to measure models on an unseen shop.

        Where only sources of the final stage are left with judgments, they are trained on from the start. Raises
        TandemError where there is no such source, or no other one with judgments.
        """
        worlds = self.final.worlds if self.final else ()
        if self.final and name in worlds:
            rest_of_worlds = tuple(world for world in worlds if world != name)
            return self.model_copy(update={"final": self.final.model_copy(update={"worlds": rest_of_worlds})})
        rest = tuple(source for source in self.sources if source.name != name)
        if len(rest) == len(self.sources):
            names = ", ".join([*(source.name for source in self.sources), *worlds])
            raise TandemError(f"recipe {self.name} has no source {quoted(name)}; there are {names}")
        if not any(source.judgments for source in rest):
            raise TandemError(f"recipe {self.name} has no judgments without {name}; leave out another source")
        final = self.final_stage
        if not any(source.judgments and not source.final_only for source in rest):
            rest = tuple(source.model_copy(update={"final_only": False}) for source in rest)
        if not any(source.final_only for source in rest):
            final = None
        return self.model_copy(update={"sources": rest, "final_stage": final})

    def without_ranker(self) -> "Recipe":
        """The same towers, and no cross-encoder."""
        return self.model_copy(update={"ranker": None, "compression": None})

    def shortened(self, share: float, stages: Collection[Stage] = STAGES) -> "Recipe":
        """The same with a share of these stages' steps and validations, and of the pairs the teacher scores.

        The student, which is what serves, keeps thrice the share: with a quarter of its steps it was still .03 nDCG@10
        behind its teacher, which had lost .003 (Home Depot, full catalog). The final stage learns its sources
        whole and replays less: with a quarter of its steps its towers learned nothing of them.
        """
        update: dict[str, Any] = {
            name: _shorter(settings, share)
            for name in ("towers", "second_round", "ranker")
            if name in stages and (settings := getattr(self, name)) is not None
        }
        if self.final_stage and "final_stage" in stages:
            replay = {"replay": math.ceil(self.final_stage.replay * share)}
            update["final_stage"] = self.final_stage.model_copy(update=replay)
        if self.compression and "student" in stages:
            fewer = {
                "candidates": math.ceil(self.compression.candidates * share),
                "student": _shorter(self.compression.student, _students(share)),
            }
            update["compression"] = self.compression.model_copy(update=fewer)
        return self.model_copy(update=update)


_Training = TypeVar("_Training", bound=TrainingSettings)


def _students(share: float) -> float:
    return min(1.0, 3 * share)


def _shorter(settings: _Training, share: float) -> _Training:
    update: dict[str, Any] = {
        "epochs": settings.epochs * share,
        "evaluations": math.ceil(settings.evaluations * share),
    }
    if settings.max_steps:
        update["max_steps"] = max(1, round(settings.max_steps * share))
    return settings.model_copy(update=update)


_PARTS = 40
