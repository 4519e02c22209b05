"""How to fine-tune the cross-encoder."""

from typing import Literal

from pydantic import Field

from training.settings import FineTuning

Head = Literal["pooler", "match"]
Loss = Literal["bce", "listwise", "pairwise"]
Method = Literal["platt", "isotonic"]


class RankerTraining(FineTuning):
    """The ranker's own knobs, and other defaults of some that both trainings have."""

    epochs: float = Field(default=1.5, gt=0, description="Passes over the examples.")
    learning_rate: float = Field(default=1e-4, gt=0, description="Highest learning rate.")
    head: Head = Field(
        default="pooler",
        description=(
            "How a pair becomes a logit: by the model's pooler, or by a head that starts as the cosine of "
            "query and product (match)."
        ),
    )
    layers: int | None = Field(default=None, ge=1, description="Layers of the base model to keep; none: all.")
    judgments: int = Field(
        default=16, ge=1, description="Judged products of a query, in even shares of each grade, at most."
    )
    random_negatives: int = Field(
        default=2, ge=0, description="Products of other queries that are added to a query's list with grade 0."
    )
    hard_negatives: int = Field(
        default=4, ge=0, description="Mined products that are added to a query's list, at most."
    )
    loss: Loss = Field(
        default="bce",
        description="bce: each pair's grade; listwise: the order of a list; pairwise: the order of its pairs.",
    )
    list_length: int = Field(default=8, ge=2, description="Products in a list, for the losses of an order.")
    bce_weight: float = Field(
        default=0.5, ge=0, description="Weight of bce beside a loss of an order; 0 leaves it out."
    )
    calibration: Method = Field(
        default="platt",
        description="How logits become probabilities: by Platt's logistic curve, or by an isotonic one on top of it.",
    )
