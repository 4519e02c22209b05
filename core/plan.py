"""The plan: the bounded numbers of one request."""

from pydantic import BaseModel, ConfigDict, Field

MAX_TOP_K = 200
# The default where neither a plan nor a final score sets the number.
RERANK_DEPTH = 32


class Plan(BaseModel):
    """Every knob has a default, a minimum and a maximum; an experiment variant is another plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    candidates: int = Field(default=100, ge=1, le=2000, description="Products that dense retrieval returns.")
    lexical_candidates: int = Field(
        default=100, ge=0, le=2000, description="Products that lexical retrieval returns; 0 leaves this source out."
    )
    dense_weight: float | None = Field(
        default=None, ge=0, le=10, description="Weight of dense ranks in fusion; none: the release's."
    )
    lexical_weight: float | None = Field(
        default=None, ge=0, le=10, description="Weight of lexical ranks in fusion; none: the release's."
    )
    rerank_depth: int | None = Field(
        default=None, ge=0, le=500, description="Candidates that the cross-encoder rescores; none: the release's."
    )
    minimum_rerank: int = Field(
        default=8, ge=1, le=500, description="When the deadline allows fewer candidates than this, none is rescored."
    )
    personalisation: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How strongly what a shopper did may shift the order of a search, in standard deviations of its "
        "scores; 0 shifts nothing.",
    )
    exploration: float = Field(
        default=0.0, ge=0, le=0.5, description="Share of the places of a list of recommendations kept for new products."
    )
