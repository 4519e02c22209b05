"""The match set of a query: what its words match, and what the bi-encoder places above a calibrated similarity.

It does not depend on the filter: what passes the filter is cut out of it. So the count of a value in a facet is the
total of the request that has the value in its filter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Mask, Scores
from catalog.view import CatalogView
from engine.protocol import Candidates

# Words match a product that holds so much of the query, by inverse document frequency.
LEAST_COVERAGE = 2 / 3
# So many of the most similar products match whatever their similarity, and no more than so many do; so many of the best
# by words match whatever they hold.
ALWAYS_SIMILAR, MOST_SIMILAR = 100, 5000
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class LexicalMatches:
    """How much of the query each product of a view holds, 0 to 1, and its score by words; both of shape (rows,)."""

    covered: Scores
    scores: Scores


@dataclass(frozen=True, slots=True, eq=False)
class MatchSet:
    """`matching`, of shape (rows,), is True for products that match, whether or not they pass the filter or are
    deleted.

    `relevance`, of shape (rows,), orders what no model ranked: the score by words as a share of the highest, and the
    similarity. `similarities` is NaN for products that are not among the most similar, `lexical_scores` 0 for those
    without a word of the query.
    """

    matching: Mask
    relevance: Scores
    similarities: Scores
    lexical_scores: Scores


def similar_matches(similar: Candidates, threshold: float | None) -> Candidates:
    """Those of the most similar products of a whole view, best first, that match: above the threshold, or as similar as
    the `ALWAYS_SIMILAR`th, whichever is lower. Without a threshold, the latter."""
    if not len(similar.scores):
        return similar
    border = float(similar.scores[min(ALWAYS_SIMILAR, len(similar.scores)) - 1])
    if threshold is not None:
        border = min(border, threshold)
    count = int(np.count_nonzero(similar.scores >= border - _TOLERANCE))
    return Candidates(similar.rows[:count], similar.scores[:count])


def make_match_set(
    view: CatalogView, similar: Candidates | None, words: LexicalMatches | None, match_all: bool = False
) -> MatchSet:
    """The match set of what both sources returned; None is a source that did not take part. With `match_all` every
    product matches, and the sources order them."""
    lexical = np.zeros(view.rows, np.float32) if words is None else words.scores
    relevance = lexical / max(float(lexical.max(initial=0)), 1e-6)
    similarities = np.full(view.rows, np.nan, np.float32)
    matching = np.full(view.rows, match_all)
    if words is not None:
        matching |= words.covered >= LEAST_COVERAGE - _TOLERANCE
        matching |= _best_by_words(view, lexical)
    if similar is not None and len(similar.rows):
        matching[similar.rows] = True
        similarities[similar.rows] = similar.scores
        relevance += similar.scores[-1]  # what is known of the others: they are no more similar
        relevance[similar.rows] += similar.scores - similar.scores[-1]
    return MatchSet(matching, relevance.astype(np.float32), similarities, lexical)


def _best_by_words(view: CatalogView, scores: Scores) -> Mask:
    """The products with the highest scores by words, `ALWAYS_SIMILAR` and those as good as the last of them; shape
    (rows,). So no candidate of a request without a filter is lost to its match set."""
    alive = view.mask(None)
    there = scores if alive is None else np.where(alive, scores, 0)
    if np.count_nonzero(there) <= ALWAYS_SIMILAR:
        return there > 0
    return there >= np.partition(there, -ALWAYS_SIMILAR)[-ALWAYS_SIMILAR]


def only_candidates(view: CatalogView, rows: NDArray[np.int64]) -> MatchSet:
    """The candidates of a request that is not answered from its match set, in its place."""
    nothing = np.zeros(view.rows, np.float32)
    matching = np.zeros(view.rows, bool)
    matching[rows] = True
    return MatchSet(matching, nothing, np.full(view.rows, np.nan, np.float32), nothing)
