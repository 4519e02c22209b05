"""How to adapt models to a shop without judgments."""

from pydantic import BaseModel, ConfigDict, Field


class AdaptSettings(BaseModel):
    """How much to make up, to learn and to measure. What `minutes` leave no time for is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minutes: float = Field(default=15.0, gt=0, description="Minutes that the whole may take.")
    queries: int = Field(default=12_000, ge=1, description="Queries to make up and to take from a log, at most.")
    products: int = Field(
        default=50_000, ge=1, description="Products to search among, at most; of more, an even sample stands for all."
    )
    held_out: float = Field(default=0.15, gt=0, lt=1, description="Share of products and of queries that are held out.")
    measured: int = Field(default=800, ge=1, description="Held-out queries to measure by, at most.")
    epochs: float = Field(default=2.0, gt=0, description="Passes over the queries, at most.")
    least_steps: int = Field(default=20, ge=1, description="With time for fewer steps nothing is learned.")
    batch_size: int = Field(default=32, ge=2, description="Queries of a step.")
    learning_rate: float = Field(default=2e-5, gt=0, description="Highest learning rate.")
    ranker_learning_rate: float = Field(default=3e-5, gt=0, description="Highest learning rate of the cross-encoder.")
    negatives: int = Field(default=1, ge=1, le=8, description="Hard negatives of a query in a step.")
    distil: float = Field(default=1.0, ge=0, description="Weight of the divergence from the voters' scores.")
    temperature: float = Field(default=0.005, gt=0, description="Divisor of the voters' scores.")
    keep: float = Field(default=0.5, ge=0, lt=1, description="Share of the starting weights in what is served.")
    seed: int = Field(default=0, ge=0, description="Seed of all random choices.")
