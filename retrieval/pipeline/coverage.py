"""How much of a query the names of products cover, which ranks alone do not show."""

import numpy as np
from numpy.typing import NDArray

from engine.lexical.index import UNITS, Evidence, LexicalQuery

# A description mentions much that a product is not.
_DESCRIPTIVE = ("description", UNITS)
# What a product whose names cover all of a query gets beside its reciprocal ranks. Chosen with untuned towers: of Home
# Depot's validation queries nDCG@10 still rises beyond it (.394 in place of .358, by .05 to .402), of CrowdFlower's no
# more (.805, .803; .795).
_COVERAGE = 0.03
# More than ranks and coverage can differ by: for products that cover it all where few do, and once more for those
# whose title holds nothing else.
_AHEAD = 0.1
_FEW = 5


def favour(query: LexicalQuery, evidence: Evidence, weight: float) -> NDArray[np.float32]:
    """What r products get beside their reciprocal ranks for the words of a query that their names cover; shape (r,).

    `weight` is that of words in fusion.
    """
    if not query.words or not weight:
        return np.zeros(len(evidence.scores), np.float32)
    matched = _by_names(evidence)
    whole = (matched >= 1).all(1)
    few = whole if np.count_nonzero(whole) <= _FEW else np.zeros_like(whole)
    ahead = few.astype(np.float32) + _titled(query, evidence)
    covered = weighted_share(query, matched)
    return (weight * _COVERAGE * covered + min(weight, 1.0) * _AHEAD * ahead).astype(np.float32)


def name_coverage(query: LexicalQuery, evidence: Evidence) -> NDArray[np.float32]:
    """The share of the query's words, by their weights, that the names of r products cover; shape (r,)."""
    return weighted_share(query, _by_names(evidence))


def weighted_share(query: LexicalQuery, matched: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of the query's words, by their weights, that r products match so far, shape (r, w); shape (r,).

    Not by a matrix product: BLAS rounds a row by which others are beside it, so that a product's score would hang on
    them, and now and then warns of invalid values where all are finite.
    """
    weights = np.array(query.weights, np.float32)
    covered = np.einsum("rw,w->r", matched, weights)
    return np.asarray(covered / max(float(weights.sum()), 1e-6), np.float32)


def _by_names(evidence: Evidence) -> NDArray[np.float32]:
    """How far the names of r products match each of w words, shape (r, w)."""
    naming = np.array([field not in _DESCRIPTIVE for field in evidence.fields])
    return np.minimum(evidence.matched[:, naming].max(1, initial=0), 1)


def _titled(query: LexicalQuery, evidence: Evidence) -> NDArray[np.bool_]:
    """Products whose title is the query, as both are analysed and in any order of words."""
    if "title" not in evidence.fields:
        return np.zeros(len(evidence.scores), bool)
    title = evidence.fields.index("title")
    return (evidence.matched[:, title] >= 1).all(1) & (evidence.lengths[:, title] == query.length)
