"""How to fine-tune the towers."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from training.loop import FineTuning

# What only rows with in-batch negatives have.
_IN_BATCH = ("mask_false_negatives", "hardness", "graded", "distil")


class EncoderTraining(FineTuning):
    """The knobs of the towers' training.

    With `loss` in_batch, a query's good product is told from its own negatives and the products of the batch's other
    rows; with graded, judged pairs are put in the order of their grades.
    """

    loss: Literal["in_batch", "graded"] = "in_batch"
    negatives: int = Field(default=1, ge=0, le=8, description="negatives beside each positive: judged, mined, then any")
    positives: int = Field(default=8, ge=1, description="at most so many positives of a query")
    scale: float = Field(default=20.0, gt=0, description="what cosines are multiplied by in the loss")
    mini_batch: int | None = Field(default=None, ge=1, description="texts at a time; memory then hangs on it alone")
    mask_false_negatives: bool = Field(default=False, description="judged answers and twins in a batch do not count")
    hardness: float = Field(default=0.0, ge=0, description="times its cosine is added to a negative's logit")
    graded: float = Field(default=0.0, ge=0, description="weight of the graded loss, in steps of its own, in between")
    graded_products: int = Field(default=16, ge=2, description="at most so many judged products of a query for it")
    distil: float = Field(default=0.0, ge=0, description="weight of the divergence from a teacher's scores")
    teacher_temperature: float = Field(default=1.0, gt=0, description="near the spread of its scores: 1 for logits")
    matryoshka: tuple[PositiveInt, ...] = Field(default=(), description="so many first dimensions are to do as well")
    dimensions: int | None = Field(default=None, ge=1, description="the first ones, which are exported; None: as many")
    shared: bool = Field(default=True, description="whether queries and products have one model")
    distractors: int = Field(default=2000, ge=0, description="further products among which validation looks")

    @model_validator(mode="after")
    def _agree(self) -> "EncoderTraining":
        if self.mini_batch and self.mini_batch > self.batch_size:
            raise ValueError(f"mini_batch {self.mini_batch} is more than batch_size {self.batch_size}; make it less")
        if self.loss == "graded" and (unread := [name for name in _IN_BATCH if getattr(self, name)]):
            raise ValueError(f"loss graded has no use for {', '.join(unread)}; leave it out, or let loss be in_batch")
        if self.distil and not self.negatives:
            raise ValueError("distil compares a good product with its negatives; let negatives be at least 1")
        if self.matryoshka and self.dimensions and self.dimensions not in self.matryoshka:
            raise ValueError(f"dimensions {self.dimensions} is none that matryoshka trains; add it there")
        return self
