"""The settings that all trainings share."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainingSettings(BaseModel):
    """The knobs that both trainings have. Lengths are in tokens; `threads` None means one a core.

    Under torchrun, `batch_size` and `threads` are those of each process: a step takes as many batches as there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base: str | None = Field(
        default=None,
        description=(
            "Folder or hub id of the model to start from; none: the bundled MiniLM, or to compress the teacher itself."
        ),
    )
    epochs: float = Field(default=1.0, gt=0, description="Passes over the examples.")
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps after which training stops, if the epochs have more."
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Seconds after which training stops at the next step and is validated; none: no bound. For one process."
        ),
    )
    batch_size: int = Field(default=32, ge=2, description="Examples of a step, in each process.")
    learning_rate: float = Field(default=5e-5, gt=0, description="Highest learning rate.")
    warmup: float = Field(
        default=0.1, ge=0, le=1, description="Share of the steps over which the learning rate rises from 0."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="Dropout while training; none: the base model's."
    )
    freeze_embeddings: bool = Field(default=False, description="Leave the base model's token embeddings unchanged.")
    lora: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Rank of low-rank adapters that are trained in place of the weights; none: the weights are trained."
        ),
    )
    lora_alpha: float = Field(
        default=16.0, gt=0, description="An adapter's output is multiplied by this, divided by the rank."
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before an adapter.")
    query_tokens: int = Field(default=32, ge=3, description="Tokens after which a query is cut.")
    product_tokens: int = Field(
        default=48, ge=8, description="Tokens after which a product text is cut while training."
    )
    evaluations: int = Field(default=4, ge=1, description="Validations, evenly spaced over the steps.")
    patience: int = Field(default=2, ge=1, description="Validations without a gain after which training stops.")
    validation_pairs: int = Field(default=1500, ge=1, description="Judged pairs to validate on.")
    validation_products: int = Field(
        default=12, ge=2, description="Judged products of a query to validate on, in even shares of each grade."
    )
    seed: int = Field(default=0, description="Seed of all random choices.")
    threads: int | None = Field(default=None, ge=1, description="Threads of each process; none: one for each core.")


class FineTuning(TrainingSettings):
    """What only trainings on judgments have: their base is a model of the same shape."""

    keep: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description=(
            "Share of the base's weights in the mean that is validated and exported; the trained weights have the rest."
        ),
    )
    keep_of: str | None = Field(
        default=None, description="Folder or hub id of the model whose weights are kept; none: the base."
    )

    @model_validator(mode="after")
    def _whole_weights(self) -> "FineTuning":
        if self.keep and self.lora:
            raise ValueError("keep averages weights, and lora trains none; leave one of them out")
        return self

    @property
    def averaged_with(self) -> Self:
        """The same with the model whose weights are kept for a base."""
        return self.model_copy(update={"base": self.keep_of or self.base})
