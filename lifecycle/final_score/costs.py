"""What each stage earns and costs of the queries that a final score is measured by."""

from collections.abc import Mapping, Sequence

import numpy as np

from lifecycle.final_score.learning import (
    FINAL,
    FUSED,
    PRERANKED,
    RERANKED,
    GradedQueries,
    QueryCandidates,
    Scores,
    Values,
)
from lifecycle.quality import costs
from lifecycle.quality.costs import StageCost, stage_costs
from retrieval.pipeline.candidates import SourceScores

_NAMES = {FUSED: costs.FUSED, PRERANKED: costs.PRERANK, RERANKED: costs.RESCORING, FINAL: costs.FINAL}


def measured_costs(
    queries: Sequence[QueryCandidates], grades: GradedQueries, values: Mapping[str, Values], depth: int, served: int
) -> list[StageCost]:
    """The stages of `values`, and the two sources, of the same queries.

    `depth` is how many candidates are rescored to be measured, `served` how many in service; all of them were timed.
    """
    sources: dict[str, Values] = {
        costs.WORDS: grades.ndcg(queries, (_order(entry.found.lexical) for entry in queries)),
        costs.TOWERS: grades.ndcg(queries, (_order(entry.found.dense) for entry in queries)),
    }
    by_stage = sources | {_NAMES[stage]: ndcg for stage, ndcg in values.items()}
    return stage_costs(by_stage, [_seconds(entry, served or depth) for entry in queries], rescores=served > 0)


def _order(source: SourceScores | None) -> Scores:
    """Scores that order what a source retrieved by its ranks, and the others behind."""
    assert source is not None, "both sources take part"
    return np.where(source.ranks > 0, 1 / np.maximum(source.ranks, 1), 0).astype(np.float32)


def _seconds(entry: QueryCandidates, depth: int) -> dict[str, float]:
    """The query's stages; rescoring as long as so many of its candidates take."""
    seconds = dict(entry.seconds)
    rescored = int(np.count_nonzero(~np.isnan(entry.relevance)))
    if "rescore" in seconds and rescored:
        seconds["rescore"] *= min(1.0, depth / rescored)
    return seconds
