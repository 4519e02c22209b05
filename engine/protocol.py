"""What every engine offers: the same three calls, wherever the models run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.selection import Selection
from catalog.view import CatalogView

Tokens = NDArray[np.int32]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a product packed for the cross-encoder: token ids and segment ids, each of shape (t,)."""

    tokens: Tokens
    segments: Tokens


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of the catalog and their similarity to one query, best first. Both of shape (c,), c at most k."""

    rows: NDArray[np.int64]
    scores: Vectors


class EngineError(Exception):
    """The engine could not do its work: a model failed or is gone."""


class DeadlineExceeded(Exception):
    """The work was dropped before it was run, since its deadline had passed."""


class Engine(Protocol):
    """Runs the models of one release.

    `deadline` is a time of the running event loop's clock, in seconds, or None for no limit. Work whose deadline has
    passed, or whose caller has been cancelled, is dropped before it is run.
    """

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """Unit vectors of shape (n, d) of n tokenised queries. Raises DeadlineExceeded or EngineError."""
        ...

    async def retrieve(
        self,
        vectors: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> list[Candidates]:
        """The k most similar products of the view to each vector of shape (n, d); without a view, of the base segment.
        With a selection of that view, of the products in it; with `exact`, whatever the kind of the index.

        The engine holds the base segment's vectors, and the view brings those of fresh segments. Raises
        DeadlineExceeded, or EngineError, also where the engine does not support fresh segments.
        """
        ...

    async def score_rows(
        self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """The similarity, shape (r,), of r products of the view to a vector of shape (d,), as `retrieve` scores them.

        Raises as `retrieve` does.
        """
        ...

    async def vectors(
        self, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """The unit vectors, shape (r, d), of r products of the view, as the index has them.

        Raises as `retrieve` does.
        """
        ...

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """Logits of shape (n,), one a pair. Raises DeadlineExceeded or EngineError."""
        ...

    def close(self) -> None:
        """Lets go of threads and memory; calls still running finish first."""
        ...
