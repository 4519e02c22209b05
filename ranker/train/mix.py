"""Whether a cross-encoder improves on fusion, and with which weight, measured on validation queries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.comparison import paired
from evaluation.measures import Grades, pool_ndcg
from ranker.calibration import Calibration
from ranker.mix import UNMEASURED, mixed_scores
from training.examples import JudgedQueries, PairValues

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Fewer queries give no reliable estimate, and more cost time.
_LEAST, _MOST = 10, 400

Values = dict[str, float]


@dataclass(frozen=True)
class RetrievedLists:
    """Retrieved products of judged queries, best first, with the towers' similarity of each pair, in their order."""

    grades: Grades
    retrieved: Mapping[str, Sequence[str]]
    pairs: list[tuple[str, str]]
    similarities: NDArray[np.float32]

    @classmethod
    def from_judged(
        cls,
        valid: JudgedQueries,
        retrieved: Mapping[str, Sequence[str]],
        texts: Mapping[str, str],
        similarity: PairValues,
        seed: int = 0,
    ) -> "RetrievedLists":
        """The lists of at most 400 sampled queries that have a retrieved and a relevant product."""
        useful = [query for query, graded in valid.queries.items() if max(graded.values()) > 0 and retrieved.get(query)]
        sampled = sorted(np.random.default_rng(seed).permutation(len(useful))[:_MOST].tolist())
        lists = {query: [name for name in retrieved[query] if name in texts] for query in (useful[i] for i in sampled)}
        pairs = [(query, texts[name]) for query, names in lists.items() for name in names]
        values = similarity([query for query, _ in pairs], [text for _, text in pairs]) if pairs else np.zeros(0)
        return cls({query: valid.queries[query] for query in lists}, lists, pairs, values.astype(np.float32))

    def ndcg(self, evidence: NDArray[np.floating], share: float) -> Values:
        """nDCG@10 of each query, with this share of the order by the evidence of all pairs, shape (n,)."""
        ends = np.cumsum([len(names) for names in self.retrieved.values()])
        parts = np.split(evidence, ends[:-1])
        rankings = {
            query: [names[place] for place in np.argsort(-mixed_scores(part, share), kind="stable")]
            for (query, names), part in zip(self.retrieved.items(), parts, strict=True)
        }
        return pool_ndcg(self.grades, rankings, 0.0)


def mix_report(
    lists: RetrievedLists, calibration: Calibration, logits: NDArray[np.float32], unmeasured: float = UNMEASURED
) -> dict[str, Any]:
    """The cross-encoder's share, its gain over fusion's order, and the significance of that gain.

    `logits` are those of the lists' pairs, shape (n,). The share is the least that comes as near to the best one as
    its standard error, for other shops differ more from the training data than held-out queries do. It is 0, and the
    cross-encoder is left out, unless the gain of that share is surely above 0, by its 95% interval. With fewer than
    ten lists the share is `unmeasured`.
    """
    if len(lists.grades) < _LEAST:
        return {"share": unmeasured, "queries": len(lists.grades)}
    evidence = calibration.evidence(logits, lists.similarities)
    fused_ndcg = lists.ndcg(evidence, 0.0)
    values = {share: lists.ndcg(evidence, share) for share in SHARES}
    share = _smallest_share(values)
    gain = paired(fused_ndcg, values[share])
    return {
        "share": share if gain.difference.low > 0 else 0.0,
        "queries": len(lists.grades),
        "fused": gain.a,
        "by share": {str(each): float(np.mean(list(by_query.values()))) for each, by_query in values.items()},
        "measured share": share,
        "gain": asdict(gain.difference) | {"p": gain.p},
    }


def _smallest_share(values: Mapping[float, Values]) -> float:
    """The least share whose mean is within a standard error, of the paired differences, of the best one's."""
    means = {share: float(np.mean(list(by_query.values()))) for share, by_query in values.items()}
    best = max(means, key=means.__getitem__)

    def is_close(share: float) -> bool:
        differences = np.array([values[best][query] - value for query, value in values[share].items()])
        return bool(differences.mean() <= differences.std() / np.sqrt(len(differences)))

    return next(share for share in values if is_close(share))
