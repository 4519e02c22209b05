"""What a model server's index does not search is searched in this process."""

import numpy as np
import pytest

from catalog.selection import Selection
from engine.fake import FakeEngine
from engine.local_search import LocalSearchEngine


class Circle:
    """Vectors at angles 0, .1, .2, ...; notes how it is searched."""

    def __init__(self) -> None:
        angles = np.arange(9) / 10
        self.vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
        self.searches: list[bool] = []

    def search(self, vectors, k, allowed=None, exact=False):
        self.searches.append(exact)
        scores = np.where(True if allowed is None else allowed, vectors @ self.vectors.T, -np.inf)
        rows = np.argsort(-scores, axis=1)[:, :k]
        return rows, np.take_along_axis(scores, rows, 1)

    def similarities(self, vector, rows):
        return self.vectors[rows] @ vector


@pytest.fixture
def circle() -> Circle:
    return Circle()


async def test_the_model_server_searches_what_it_can(circle: Circle) -> None:
    remote = FakeEngine(9)
    engine = LocalSearchEngine(remote, lambda: circle)
    [candidates] = await engine.retrieve(np.array([[4.0]], np.float32), 3, None)
    assert candidates.rows.tolist() == [4, 5, 6] and circle.searches == []
    engine.close()
    assert remote.closed


async def test_a_selection_and_exact_search_are_searched_here(circle: Circle) -> None:
    remote = FakeEngine(9)
    engine = LocalSearchEngine(remote, lambda: circle, lanes=1)
    mask = np.zeros(9, bool)
    mask[[1, 7]] = True
    query = circle.vectors[[0]]
    [selected] = await engine.retrieve(query, 2, None, None, Selection(mask, 2, "odd"))
    [exact] = await engine.retrieve(query, 2, None, None, None, True)
    assert selected.rows.tolist() == [1, 7] and exact.rows.tolist() == [0, 1]
    assert circle.searches == [False, True] and remote.calls == []
    engine.close()
