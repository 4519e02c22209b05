"""The plan: the bounded numbers of one request."""

from pydantic import BaseModel, ConfigDict, Field

MAX_TOP_K = 200
# Where neither a plan nor a final score says how many.
RERANK_DEPTH = 32


class Plan(BaseModel):
    """Every knob has a default, a minimum and a maximum; an experiment variant is another plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    candidates: int = Field(default=100, ge=1, le=2000, description="products retrieved by the dense source")
    lexical_candidates: int = Field(
        default=100, ge=0, le=2000, description="products retrieved by words; 0 leaves that source out"
    )
    dense_weight: float | None = Field(
        default=None, ge=0, le=10, description="of the dense source's ranks in fusion; None: the release's"
    )
    lexical_weight: float | None = Field(
        default=None, ge=0, le=10, description="of the lexical source's ranks in fusion; None: the release's"
    )
    rerank_depth: int | None = Field(
        default=None, ge=0, le=500, description="candidates rescored by the cross-encoder; None: the release's"
    )
    minimum_rerank: int = Field(default=8, ge=1, le=500, description="fewer than this many are not worth rescoring")
