"""Vector search through a catalog view: each segment is searched, and the lists are merged by score."""

import numpy as np

from catalog.segment import Mask, Rows, Scores, VectorSearch
from catalog.selection import Selection
from catalog.view import CatalogView, merge_ranked

# Up to this share of deleted products an index is searched without a mask: for so many more results, and so
# many times as many as are deleted where these are spread evenly.
_MOST_DELETED, _EXTRA, _SPARE = 0.1, 16, 4


def search_view(
    base: VectorSearch,
    view: CatalogView | None,
    vectors: Scores,
    k: int,
    selection: Selection | None = None,
    exact: bool = False,
) -> tuple[Rows, Scores]:
    """Rows of the view and scores, both (n, c) with c at most k, of n unit vectors (n, d), best first; row -1 where
    there are no more.

    `base` has the base segment's vectors; without a view they are searched alone and whole. `selection` is of the same
    view; see `VectorSearch.search` for `exact`.
    """
    if view is None or view.is_base_alone:
        return base.search(vectors, k, None if selection is None else selection.mask, exact)
    lists = []
    for number, segment in enumerate(view.segments):
        if len(segment):
            index, alive = _vectors_of(base, view, number), view.alive(number)
            if selection is not None:
                rows, scores = index.search(vectors, k, view.slice(selection.mask, number), exact)
            elif alive is not None:
                rows, scores = _search_past_deleted(index, vectors, k, alive, exact)
            else:
                rows, scores = index.search(vectors, k, None, exact)
            lists.append((np.where(rows < 0, -1, rows + view.start(number)), scores))
    return merge_ranked(lists, k)


def _search_past_deleted(index: VectorSearch, vectors: Scores, k: int, alive: Mask, exact: bool) -> tuple[Rows, Scores]:
    """As a search among the rows that are alive: with a mask that nearly all pass, an exact index takes up to twice as
    long, and an approximate one is searched wider than it has to be. So a few more are retrieved, and what is deleted
    is left out."""
    deleted = len(alive) - int(np.count_nonzero(alive))
    extra = _EXTRA + _SPARE * k * deleted // len(alive)
    if deleted > _MOST_DELETED * len(alive) or k + extra >= len(alive):
        return index.search(vectors, k, alive, exact)
    rows, scores = index.search(vectors, k + extra, None, exact)
    good = (rows >= 0) & alive[rows]
    short = np.flatnonzero(good.sum(axis=1) < k)
    places = np.argsort(~good, axis=1, kind="stable")[:, :k]
    rows, scores = np.take_along_axis(rows, places, 1), np.take_along_axis(scores, places, 1)
    if len(short):  # many of the nearest are deleted
        rows[short], scores[short] = index.search(vectors[short], k, alive, exact)
    return rows, scores


def score_view_rows(base: VectorSearch, view: CatalogView | None, vector: Scores, rows: Rows) -> Scores:
    """Scores, shape (r,), of r rows of the view against a unit vector of shape (d,), as `search_view` gives them."""
    if view is None or len(view.segments) == 1:
        return base.similarities(vector, rows)
    result = np.empty(len(rows), np.float32)
    for part in view.parts(rows):
        result[part.places] = _vectors_of(base, view, part.segment).similarities(vector, part.rows)
    return result


def view_vectors(base: VectorSearch, view: CatalogView | None, rows: Rows) -> Scores:
    """The unit vectors, shape (r, d), of r rows of the view."""
    if view is None or len(view.segments) == 1:
        return base.vectors(rows)
    parts = list(view.parts(rows))
    if not parts:
        return base.vectors(rows)
    order = np.argsort(np.concatenate([part.places for part in parts]), kind="stable")
    return np.concatenate([_vectors_of(base, view, part.segment).vectors(part.rows) for part in parts])[order]


def _vectors_of(base: VectorSearch, view: CatalogView, segment: int) -> VectorSearch:
    vectors = base if segment == 0 else view.segments[segment].vectors
    assert vectors is not None, "a fresh segment brings its vectors"
    return vectors
