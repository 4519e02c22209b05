"""Lexical search through a catalog view: each segment is searched with the base's word statistics, and the lists are
merged by score."""

from collections.abc import Mapping

import numpy as np

from catalog.segment import LexicalSearch, Rows, Scores
from catalog.selection import Selection
from catalog.view import CatalogView, merge_ranked
from engine.lexical.index import Evidence, LexicalIndex, LexicalQuery
from engine.protocol import Candidates


def search_view(
    base: LexicalIndex,
    view: CatalogView | None,
    query: LexicalQuery,
    weights: Mapping[str, float],
    k: int,
    selection: Selection | None = None,
) -> Candidates:
    """The k best products of the view for a query that was read by the base segment's vocabulary, best first.

    `weights` are the fields'. `base` has the base segment's words; without a view they are searched alone and whole.
    `selection` is of the same view.
    """
    if view is None or view.is_base_alone:
        return base.search(query.terms, weights, k, query.synonyms, None if selection is None else selection.mask)
    lists = []
    terms = base.affordable(query.terms)
    for number in range(len(view.segments)):
        words = _words_of(base, view, number)
        allowed = view.alive(number) if selection is None else view.slice(selection.mask, number)
        candidates = words.search(terms, weights, k, query.synonyms, allowed)
        lists.append((candidates.rows + view.start(number), candidates.scores))
    return Candidates(*merge_ranked(lists, k))


def matches_in_view(
    base: LexicalIndex, view: CatalogView | None, query: LexicalQuery, weights: Mapping[str, float]
) -> tuple[Scores, Scores]:
    """See `LexicalIndex.matches`; both of shape (rows,), of all rows of the view, those of deleted products among
    them."""
    if view is None or len(view.segments) == 1:
        return base.matches(query, weights)
    terms = base.affordable(query.terms)
    parts = [_words_of(base, view, number).matches(query, weights, terms) for number in range(len(view.segments))]
    covered, scores = zip(*parts, strict=True)
    return np.concatenate(covered), np.concatenate(scores)


def evidence_of_view(base: LexicalIndex, view: CatalogView | None, query: LexicalQuery, rows: Rows) -> Evidence:
    """What the products of r rows of the view hold of the query."""
    if view is None or len(view.segments) == 1:
        return base.evidence(query, rows)
    parts = list(view.parts(rows))
    held = [_words_of(base, view, part.segment).evidence(query, part.rows) for part in parts]
    if not held:
        return base.evidence(query, rows)
    # The parts' rows one after the other, put back into the order of the request.
    order = np.argsort(np.concatenate([part.places for part in parts]), kind="stable")
    return Evidence(
        np.concatenate([one.scores for one in held])[order],
        np.concatenate([one.matched for one in held])[order],
        np.concatenate([one.conflicting_quantity for one in held])[order],
        np.concatenate([one.lengths for one in held])[order],
        base.fields,
    )


def _words_of(base: LexicalIndex, view: CatalogView, segment: int) -> LexicalSearch:
    words = base if segment == 0 else view.segments[segment].words
    assert words is not None, "a fresh segment brings its words"
    return words
