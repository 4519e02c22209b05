"""How to fine-tune the towers."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from training.known_bases import Pooling
from training.settings import FineTuning

# What only rows with in-batch negatives have.
_IN_BATCH = ("mask_false_negatives", "hardness", "graded", "distil")


class EncoderTraining(FineTuning):
    """The knobs of the towers' training.

    With `loss` in_batch, a query's good product is contrasted with its negatives and the products of the batch's other
    rows; with graded, judged pairs are put in the order of their grades.
    """

    loss: Literal["in_batch", "graded"] = Field(
        default="in_batch",
        description=(
            "in_batch: rank a query's positive above its own negatives and the batch's other products; "
            "graded: order judged pairs by grade."
        ),
    )
    negatives: int = Field(
        default=1, ge=0, le=8, description="Negatives for each positive: judged ones first, then mined, then random."
    )
    positives: int = Field(default=8, ge=1, description="Positives of a query, at most.")
    scale: float = Field(default=20.0, gt=0, description="Factor of the cosines in the loss (the inverse temperature).")
    mini_batch: int | None = Field(
        default=None,
        ge=1,
        description="Texts that are embedded at a time; bounds memory at any batch size. None: the whole batch.",
    )
    mask_false_negatives: bool = Field(
        default=False,
        description=(
            "Leave out of the loss what a batch holds of a query's judged answers, and products with the same title."
        ),
    )
    hardness: float = Field(
        default=0.0, ge=0, description="Weight of hard negatives: a negative's logit rises by this times its cosine."
    )
    graded: float = Field(
        default=0.0, ge=0, description="Weight of the graded loss, which then trains every other step; 0 leaves it out."
    )
    graded_products: int = Field(
        default=16, ge=2, description="Judged products of a query for the graded loss, at most."
    )
    distil: float = Field(
        default=0.0, ge=0, description="Weight of the divergence from a teacher's scores; 0 leaves it out."
    )
    teacher_temperature: float = Field(
        default=1.0, gt=0, description="Divisor of the teacher's scores; near their spread, 1 for logits."
    )
    matryoshka: tuple[PositiveInt, ...] = Field(
        default=(), description="Numbers of leading dimensions that are trained to serve on their own."
    )
    dimensions: int | None = Field(default=None, ge=1, description="Leading dimensions that are exported; none: all.")
    query_prefix: str | None = Field(
        default=None, description="Text that is put before a query; none: that which the base was trained with."
    )
    item_prefix: str | None = Field(
        default=None, description="Text that is put before a product text; none: that which the base was trained with."
    )
    pooling: Pooling | None = Field(
        default=None,
        description="How tokens make a vector, where the base is a plain folder of transformers; none: their mean.",
    )
    shared: bool = Field(default=True, description="Train one model for queries and products, or one for each.")
    distractors: int = Field(
        default=2000, ge=0, description="Products without a judgment that validation searches too."
    )

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
