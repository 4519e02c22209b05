"""How to fine-tune the cross-encoder."""

from typing import Literal

from pydantic import Field

from training.loop import FineTuning

Head = Literal["pooler", "match"]
Loss = Literal["bce", "listwise", "pairwise"]
Method = Literal["platt", "isotonic"]


class RankerTraining(FineTuning):
    """The ranker's own knobs, and other defaults of some that both trainings have."""

    epochs: float = Field(default=1.5, gt=0)
    learning_rate: float = Field(default=1e-4, gt=0)
    head: Head = Field(default="pooler", description="match: start as the cosine of the pair's two sides")
    layers: int | None = Field(default=None, ge=1, description="of the base's layers, so many are kept; None: all")
    judgments: int = Field(default=16, ge=1, description="at most so many judged products of a query, all grades alike")
    random_negatives: int = Field(default=2, ge=0, description="products of other queries beside them, as irrelevant")
    hard_negatives: int = Field(default=4, ge=0, description="of those that retrieval found, where any are handed in")
    loss: Loss = Field(default="bce", description="of single pairs by grade, or of the order of a query's products")
    list_length: int = Field(default=8, ge=2, description="products of a query that the order is taught of at a time")
    bce_weight: float = Field(default=0.5, ge=0, description="share of bce in the other losses; 0 leaves it out")
    calibration: Method = Field(default="platt", description="isotonic: bent to the share relevant, after Platt's")
