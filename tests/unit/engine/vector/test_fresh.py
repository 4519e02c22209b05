"""Exact search of fresh vectors."""

import faiss
import numpy as np
import pytest
from live import unit_vectors

from engine.vector.fresh import InvalidVector, make_exact_search
from engine.vector.index import VectorIndex


def test_a_vector_scores_as_in_the_exact_index_of_a_release() -> None:
    vectors = unit_vectors(40) + np.float32(1e-4)  # not of half precision
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    rows, scores = VectorIndex(index).search(vectors[:5], 40)
    for one in (vectors, vectors[10:11]):
        fresh = make_exact_search(one)
        own, found = fresh.search(vectors[:5], 40)
        first = 0 if len(one) > 1 else 10
        for line in range(5):
            theirs = dict(zip(rows[line].tolist(), scores[line].tolist(), strict=True))
            ours = dict(zip((own[line] + first).tolist(), found[line].tolist(), strict=True))
            assert ours == {row: theirs[row] for row in ours} and len(ours) == len(one)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "vector 1 holds values that are not finite"),
        (np.inf, "vector 1 holds values that are not finite"),
        (-np.inf, "vector 1 holds values that are not finite"),
        (0.0, r"vector 1 is no unit vector \(length 0\)"),
        (3.0, "vector 1 is no unit vector"),
    ],
)
def test_what_cannot_be_searched_is_refused(value: float, message: str) -> None:
    vectors = unit_vectors(3)
    vectors[1] = value
    with pytest.raises(InvalidVector, match=message):
        make_exact_search(vectors)
    with pytest.raises(InvalidVector, match="shape"):
        make_exact_search(vectors[0])
