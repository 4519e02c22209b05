"""Settings of a recipe's final score."""

from pydantic import BaseModel, ConfigDict, Field

from ranker.train.final import FinalTraining


class FinalScoreStage(BaseModel):
    """How a final score is learned from all sources, as shops, over the models that were trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    queries: int = Field(default=400, ge=10, description="Queries of a source, at most.")
    products: int = Field(
        default=12_000, ge=100, description="Products of a source that are searched; the judged ones are among them."
    )
    worlds: tuple[str, ...] = Field(
        default=(), description="Worlds of the sample shop to learn from as further shops: home, trade, market."
    )
    split: str = Field(default="valid", description="Split of the judged queries, which train no other model.")
    training: FinalTraining = Field(default=FinalTraining(), description="Training of the final score.")
