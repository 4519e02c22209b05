"""The order in which a release with these models serves made-up queries: fused, rescored, ranked by a final score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.plan import RERANK_DEPTH
from lifecycle.adapt.candidates import ReadQuery, ServedWords, Towers, fused_orders
from lifecycle.training.scoring import Teacher
from ranker.final import FinalScore
from ranker.ranker import Ranker
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.features import code_matches, compute_features, with_relevance
from retrieval.pipeline.prerank import Shortlist
from retrieval.pipeline.ranking import rank_by_mix

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Served:
    """What serves: words, towers, a cross-encoder and a final score, or None in place of the last two."""

    words: ServedWords
    towers: Towers
    texts: Sequence[str]
    ranker: Teacher | None = None
    final: FinalScore | None = None

    @property
    def depth(self) -> int:
        """Candidates that are rescored."""
        if self.ranker is None:
            return 0
        return self.final.spec.rerank_depth if self.final else RERANK_DEPTH if self.ranker.ranker.mix else 0

    def orders(self, queries: Sequence[ReadQuery]) -> list[NDArray[np.int64]]:
        """The rows of each query, the best first.

        Nothing is known of popularity, nor of what typed columns state.
        """
        if not queries:
            return []
        spec = self.final.spec if self.final else None
        weights = (spec.dense_weight, spec.lexical_weight) if spec else (1.0, 1.0)
        vectors = self.towers.queries([query.text for query in queries])
        fused = fused_orders(self.words, queries, vectors, self.towers.items, weights)
        shortlists = [self._shortlist(candidates) for candidates in fused]
        relevance = self._relevance(queries, shortlists)
        return [self._ranked(*entry) for entry in zip(shortlists, relevance, strict=True)]

    def _shortlist(self, candidates: CandidateSet) -> Shortlist:
        named, none = code_matches(candidates), np.zeros(len(candidates.rows), np.float32)
        shortlist = Shortlist(candidates, None, named, none > 0, none)
        if self.final is None or not len(candidates.rows):
            return shortlist.ordered(np.argsort(~named, kind="stable"))
        table = compute_features(candidates, np.full(len(candidates.rows), np.nan, np.float32))
        scores = self.final.scores(table, rescored=False)
        return Shortlist(candidates, table, named, none > 0, none).ordered(np.lexsort((-scores, ~named)))

    def _relevance(self, queries: Sequence[ReadQuery], shortlists: Sequence[Shortlist]) -> list[Values]:
        """The cross-encoder's probability of each query's candidates, NaN of those that are not rescored."""
        result = [np.full(len(entry), np.nan, np.float32) for entry in shortlists]
        if self.ranker is None or not self.depth:
            return result
        firsts = [entry.candidates.rows[: self.depth] for entry in shortlists]
        texts = [[self.texts[row] for row in rows] for rows in firsts]
        texts_of_queries = [query.text for query, rows in zip(queries, firsts, strict=True) for _ in rows]
        logits = self.ranker.logits(texts_of_queries, [text for some in texts for text in some])
        ends = np.cumsum([len(rows) for rows in firsts])[:-1]
        for values, own, entry in zip(result, np.split(logits, ends), shortlists, strict=True):
            assert entry.candidates.dense is not None
            values[: len(own)] = self.ranker.ranker.scores(own, entry.candidates.dense.scores[: len(own)])
        return result

    def _ranked(self, shortlist: Shortlist, relevance: Values) -> NDArray[np.int64]:
        rows = shortlist.candidates.rows
        if self.final is None or shortlist.table is None:
            mix = self.ranker.ranker.mix if self.ranker else 0.0
            return rows[rank_by_mix(shortlist, relevance, mix).order]
        rescored = not np.isnan(relevance).all()
        scores = self.final.scores(with_relevance(shortlist.table, relevance), rescored)
        return rows[np.lexsort((-scores, ~shortlist.named))]


def final_beside(folder: Path, towers: str, ranker: Ranker | None, rescoring: bool = False) -> FinalScore | None:
    """The folder's final score, where it goes with these towers, by their digest, and this cross-encoder or none.

    With `rescoring`, only one that rescores. None without one.
    """
    if not folder.is_dir():
        return None
    final = FinalScore.open(folder)
    try:
        final.check(towers, ranker.digest if ranker else "")
    except ModelError:
        return None
    return None if rescoring and not final.spec.rerank_depth else final
