"""How fusion is tuned and told, on queries of four candidates that either source ranks in its own order."""

import numpy as np
import pytest

from benchmarks import fusion
from benchmarks.fusion import BY_RANK, SHARES, QueryCandidates, Split
from engine.lexical.index import LexicalQuery
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet, SourceScores

IDS = ["a", "b", "c", "d"]


def make_candidates(query: str, good: str) -> QueryCandidates:
    """The towers find a, b, c, d in this order, words the other way round."""
    dense = SourceScores(np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([1, 2, 3, 4]))
    words = SourceScores(np.array([1, 2, 3, 8], np.float32), np.array([4, 3, 2, 1]))
    result = CandidateSet(np.arange(4), np.zeros(4, np.float32), {DENSE: dense, LEXICAL: words}, LexicalQuery(), None)
    return QueryCandidates(query, result, IDS, np.array([name == good for name in IDS]))


def split(**good: str) -> Split:
    grades = {query: {name: 3.0 if name == best else 1.0 for name in IDS} for query, best in good.items()}
    return Split([make_candidates(query, best) for query, best in good.items()], grades)


def order(scores: np.ndarray) -> list[str]:
    return [IDS[place] for place in np.argsort(-scores, kind="stable")]


def test_a_share_of_words_goes_from_one_order_to_the_other() -> None:
    entry = make_candidates("q", "a")
    assert order(fusion._by_rank(entry, 0.0)) == IDS
    assert order(fusion._by_rank(entry, 1.0)) == IDS[::-1]
    assert len(set(fusion._by_rank(entry, 0.5).round(6))) == 2  # 1/61 + 1/64 at both ends, 1/62 + 1/63 between


def test_what_each_share_is_worth_to_each_query() -> None:
    worth = split(first="a", last="d").by_share(fusion._by_rank)
    assert worth.shape == (2, len(SHARES))
    assert worth[0, 0] == worth[1, -1] == 1
    assert worth[0, -1] == worth[1, 0] == pytest.approx(1 / np.log2(5))  # the good one comes fourth


def test_calibrated_scores_are_probabilities_by_what_was_good() -> None:
    mixes = dict(fusion._calibrated(split(one="d", two="d", three="c", four="a")))
    entry = make_candidates("q", "d")
    for mix in mixes.values():
        words = mix(entry, 1.0)
        assert ((words > 0) & (words < 1)).all() and order(words)[0] == "d"  # scored 8, and good twice of four
        assert mix(entry, 0.5) == pytest.approx((mix(entry, 0.0) + words) / 2)


def test_all_ways_are_tuned_on_valid_and_tell_of_test() -> None:
    valid = split(**{f"v{i}": "d" for i in range(10)}, other="a")
    systems = fusion._systems(valid, split(x="d", y="a"))
    assert [order(scores)[0] for scores in systems[BY_RANK]] == ["d", "d"]
    assert [order(scores)[0] for scores in systems[f"{BY_RANK}, the best weight of each query"]] == ["d", "a"]
    assert len(systems) == 9
