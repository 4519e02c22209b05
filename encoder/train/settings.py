"""How to fine-tune the towers."""

from pydantic import Field, model_validator

from engine.training import TrainingSettings


class EncoderTraining(TrainingSettings):
    """The knobs of the towers' training. Products that a query is told from: its own negatives and the batch's rest."""

    negatives: int = Field(default=1, ge=0, le=8, description="negatives beside each positive: judged, mined, then any")
    positives: int = Field(default=8, ge=1, description="at most so many positives of a query")
    scale: float = Field(default=20.0, gt=0, description="what cosines are multiplied by in the loss")
    mini_batch: int | None = Field(default=None, ge=1, description="texts at a time; memory then hangs on it alone")
    mask_false_negatives: bool = Field(default=False, description="judged answers and twins in a batch do not count")
    hardness: float = Field(default=0.0, ge=0, description="times its cosine is added to a negative's logit")
    distractors: int = Field(default=2000, ge=0, description="further products among which validation looks")

    @model_validator(mode="after")
    def _agree(self) -> "EncoderTraining":
        if self.mini_batch and self.mini_batch > self.batch_size:
            raise ValueError(f"mini_batch {self.mini_batch} is more than batch_size {self.batch_size}; make it less")
        return self
