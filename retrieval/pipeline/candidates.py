"""The candidates of a request: what its sources retrieved, fused, with each source's score of every product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from core.fusion import fuse
from engine.lexical.index import Evidence, LexicalQuery
from engine.protocol import Candidates, Vectors
from retrieval.pipeline.coverage import favour

# Sources by name, as their stages and scores are called in answers.
DENSE, LEXICAL = "retrieve", "lexical"


def _no_rows() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


def _no_scores() -> Vectors:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class SourceScores:
    """One source's scores of c candidates, and the ranks, from 1, at which it retrieved them, or 0; both (c,)."""

    scores: Vectors = field(default_factory=_no_scores)
    ranks: NDArray[np.int64] = field(default_factory=_no_rows)

    def ordered(self, places: NDArray[np.int64]) -> "SourceScores":
        """The same of candidates in another order."""
        return SourceScores(self.scores[places], self.ranks[places])

    def order(self) -> NDArray[np.int64]:
        """The places of what the source retrieved, its best first."""
        places = np.flatnonzero(self.ranks)
        return places[np.argsort(self.ranks[places])]


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """c candidates, best first. `scores` order them: where several sources were fused, reciprocal ranks and how much of
    the query names cover (`coverage.py`), else the only source's.

    `sources` has, by their names, the sources that took part. `query` is the query as the lexical source parsed it, and
    `evidence` what the candidates hold of it, where that source was fused with another.
    """

    rows: NDArray[np.int64] = field(default_factory=_no_rows)
    scores: Vectors = field(default_factory=_no_scores)
    sources: Mapping[str, SourceScores] = field(default_factory=dict)
    query: LexicalQuery | None = None
    evidence: Evidence | None = None

    @property
    def dense(self) -> SourceScores | None:
        """The dense source's scores; None where it did not take part."""
        return self.sources.get(DENSE)

    @property
    def lexical(self) -> SourceScores | None:
        """The lexical source's scores; None where it did not take part."""
        return self.sources.get(LEXICAL)

    @property
    def fused(self) -> SourceScores | None:
        """The fused scores and the ranks by them, equal ones sharing the better rank; None of a single source."""
        if len(self.sources) < 2:
            return None
        return SourceScores(self.scores, 1 + np.searchsorted(np.sort(-self.scores), -self.scores))

    def ordered(self, places: NDArray[np.int64]) -> "CandidateSet":
        """The same candidates in another order."""
        return CandidateSet(
            self.rows[places],
            self.scores[places],
            {name: source.ordered(places) for name, source in self.sources.items()},
            self.query,
            self.evidence and self.evidence.take(places),
        )

    def with_evidence(self, query: LexicalQuery, evidence: Evidence, weight: float) -> "CandidateSet":
        """The candidates, ordered anew by how much of the query their names cover too; `weight` is that of words in
        fusion."""
        scores = self.scores + favour(query, evidence, weight)
        candidates = replace(self, scores=scores, query=query, evidence=evidence)
        return candidates.ordered(np.argsort(-scores, kind="stable"))


def one_source(name: str, candidates: Candidates) -> CandidateSet:
    """What a single source retrieved, in its own order."""
    scores = SourceScores(candidates.scores, 1 + np.arange(len(candidates.rows)))
    return CandidateSet(candidates.rows, candidates.scores, {name: scores})


@dataclass(frozen=True, slots=True)
class Fusion:
    """Several lists as one, best first, before each source has scored what the others retrieved.

    `sources` has each source's scores and ranks by its name; both are 0 where it did not retrieve a candidate.
    """

    rows: NDArray[np.int64]
    scores: Vectors
    sources: Mapping[str, SourceScores]

    def missing(self, source: str) -> NDArray[np.int64]:
        """The places of the candidates that a source did not retrieve."""
        return np.flatnonzero(self.sources[source].ranks == 0)

    def completed(self, scores: Mapping[str, Vectors]) -> CandidateSet:
        """The candidates with each source's scores of all of them, shape (c,), by its name."""
        sources = {name: SourceScores(scores[name], source.ranks) for name, source in self.sources.items()}
        return CandidateSet(self.rows, self.scores, sources)


def fuse_ranks(lists: Mapping[str, Candidates], weights: Sequence[float]) -> Fusion:
    """Fuses the lists of sources, by their names, by reciprocal ranks; `weights` are in the order of the lists."""
    rows, scores = fuse([candidates.rows for candidates in lists.values()], weights)
    sources = {name: _scores_of(rows, candidates) for name, candidates in lists.items()}
    return Fusion(rows, scores.astype(np.float32), sources)


def _scores_of(rows: NDArray[np.int64], candidates: Candidates) -> SourceScores:
    """A source's scores and ranks in the order of `rows`; 0 for what it did not retrieve."""
    if not len(candidates.rows):
        return SourceScores(np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64))
    order = np.argsort(candidates.rows, kind="stable")
    places = np.minimum(np.searchsorted(candidates.rows, rows, sorter=order), len(order) - 1)
    retrieved = candidates.rows[order[places]] == rows
    ranks = np.where(retrieved, 1 + order[places], 0)
    return SourceScores(np.where(retrieved, candidates.scores[order[places]], np.float32(0)), ranks)
