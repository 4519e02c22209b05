"""The candidates of a request: what its sources found, fused, with each one's score of every product."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.fusion import fuse
from engine.lexical.index import Evidence, LexicalQuery
from engine.protocol import Candidates, Vectors
from retrieval.pipeline.coverage import favour


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


def _nothing() -> Vectors:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class SourceScores:
    """One source's say on c candidates: scores, and the ranks, from 1, it found them at, or 0; both of shape (c,)."""

    scores: Vectors = field(default_factory=_nothing)
    ranks: NDArray[np.int64] = field(default_factory=_none)

    def ordered(self, places: NDArray[np.int64]) -> "SourceScores":
        """The same of candidates in another order."""
        return SourceScores(self.scores[places], self.ranks[places])

    def order(self) -> NDArray[np.int64]:
        """The places of what it found, its best first."""
        found = np.flatnonzero(self.ranks)
        return found[np.argsort(self.ranks[found])]


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """c candidates, best first. `scores` order them: where two sources were fused, reciprocal ranks and what names say
    of the query (`coverage.py`), else the source's.

    A source that did not take part is None. `query` and `evidence`, what the candidates hold of its words, are there
    when both did.
    """

    rows: NDArray[np.int64] = field(default_factory=_none)
    scores: Vectors = field(default_factory=_nothing)
    dense: SourceScores | None = None
    lexical: SourceScores | None = None
    query: LexicalQuery | None = None
    evidence: Evidence | None = None

    def ordered(self, places: NDArray[np.int64]) -> "CandidateSet":
        """The same candidates in another order."""
        return CandidateSet(
            self.rows[places],
            self.scores[places],
            self.dense and self.dense.ordered(places),
            self.lexical and self.lexical.ordered(places),
            self.query,
            self.evidence and self.evidence.of(places),
        )

    def ranks(self) -> NDArray[np.int64]:
        """Places by `scores`, from 1, shape (c,); equals share the better one."""
        return 1 + np.searchsorted(np.sort(-self.scores), -self.scores)

    @property
    def fused(self) -> bool:
        """Whether both sources took part."""
        return self.dense is not None and self.lexical is not None


def one_source(candidates: Candidates, lexical: bool = False) -> CandidateSet:
    """What a single source found, in its own order."""
    source = SourceScores(candidates.scores, 1 + np.arange(len(candidates.rows)))
    return CandidateSet(candidates.rows, candidates.scores, None if lexical else source, source if lexical else None)


@dataclass(frozen=True, slots=True)
class Fusion:
    """Two sources' lists as one, before each is asked about what the other found.

    `unseen_by_dense` are places among `rows`.
    """

    rows: NDArray[np.int64]
    scores: Vectors
    dense: SourceScores
    lexical: SourceScores
    lexical_weight: float = 1.0

    @classmethod
    def of(cls, dense: Candidates, lexical: Candidates, weights: tuple[float, float]) -> "Fusion":
        """Fuses by weighted reciprocal rank."""
        rows, scores = fuse([dense.rows, lexical.rows], weights)
        return cls(rows, scores.astype(np.float32), _source(rows, dense), _source(rows, lexical), weights[1])

    @property
    def unseen_by_dense(self) -> NDArray[np.int64]:
        """Places of what words alone found."""
        return np.flatnonzero(self.dense.ranks == 0)

    def completed(self, similarities: Vectors, words: Vectors, query: LexicalQuery, evidence: Evidence) -> CandidateSet:
        """With similarities of what words alone found, in the order of the places above, and scores by words of all."""
        self.dense.scores[self.unseen_by_dense] = similarities
        scores = self.scores + favour(query, evidence, self.lexical_weight)
        found = CandidateSet(self.rows, scores, self.dense, SourceScores(words, self.lexical.ranks), query, evidence)
        return found.ordered(np.argsort(-scores, kind="stable"))


def _source(rows: NDArray[np.int64], candidates: Candidates) -> SourceScores:
    """The source's scores and ranks in the order of `rows`; 0 for what it did not find."""
    if not len(candidates.rows):
        return SourceScores(np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64))
    order = np.argsort(candidates.rows, kind="stable")
    places = np.minimum(np.searchsorted(candidates.rows, rows, sorter=order), len(order) - 1)
    found = candidates.rows[order[places]] == rows
    ranks = np.where(found, 1 + order[places], 0)
    return SourceScores(np.where(found, candidates.scores[order[places]], np.float32(0)), ranks)
