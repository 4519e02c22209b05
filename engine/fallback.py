"""Two engines of one release: where the first fails, the second does the work, and the result records it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from numpy.typing import NDArray

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.protocol import Candidates, DeadlineExceeded, Engine, EngineError, Pair, Tokens, Vectors

_Result = TypeVar("_Result")

_LATE = "it took too long"

# Of the time left, for the first engine: the second needs some too.
_SHARE = 0.6

_notes: ContextVar[list[str] | None] = ContextVar("noted", default=None)


@contextmanager
def collect_notes() -> Iterator[list[str]]:
    """A list that gets a line for each call which the second engine answered, in this task and those it awaits."""
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


class FallbackEngine:
    """Asks `first`, and `second` where that fails. Both run the same release and answer alike."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self._first = first
        self._second = second

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        return await _either(
            "encode",
            lambda limit: self._first.encode(queries, limit),
            lambda: self._second.encode(queries, deadline),
            deadline,
        )

    async def retrieve(
        self,
        vectors: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> list[Candidates]:
        """See `engine.protocol.Engine`."""
        return await _either(
            "retrieve",
            lambda limit: self._first.retrieve(vectors, k, limit, view, selection, exact),
            lambda: self._second.retrieve(vectors, k, deadline, view, selection, exact),
            deadline,
        )

    async def score_rows(
        self, vector: Vectors, rows: NDArray, deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """See `engine.protocol.Engine`."""
        return await _either(
            "score_rows",
            lambda limit: self._first.score_rows(vector, rows, limit, view),
            lambda: self._second.score_rows(vector, rows, deadline, view),
            deadline,
        )

    async def vectors(self, rows: NDArray, deadline: float | None, view: CatalogView | None = None) -> Vectors:
        """See `engine.protocol.Engine`."""
        return await _either(
            "vectors",
            lambda limit: self._first.vectors(rows, limit, view),
            lambda: self._second.vectors(rows, deadline, view),
            deadline,
        )

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`. The pairs were chosen to fill the time left, so all of it is the first's."""
        return await _either(
            "rescore",
            lambda _: self._first.rescore(pairs, deadline),
            lambda: self._second.rescore(pairs, deadline),
            deadline,
        )

    @property
    def trouble(self) -> str | None:
        """Why the first engine answers nothing; None while it does, or does not say."""
        return getattr(self._first, "trouble", None)

    def close(self) -> None:
        """See `engine.protocol.Engine`."""
        self._first.close()
        self._second.close()


async def _either(
    call: str,
    first: Callable[[float | None], Awaitable[_Result]],
    second: Callable[[], Awaitable[_Result]],
    deadline: float | None,
) -> _Result:
    notes = _notes.get()
    if notes is not None and any(note.endswith(_LATE) for note in notes):
        why = _LATE  # for an earlier call of this request, which has no time to wait for it again
    else:
        loop = asyncio.get_running_loop()
        now = loop.time()
        try:
            return await first(None if deadline is None else now + _SHARE * (deadline - now))
        except EngineError as error:
            why = str(error)
        except DeadlineExceeded:
            if deadline is None or loop.time() >= deadline:
                raise
            why = _LATE
    result = await second()
    if notes is not None:
        notes.append(f"{call} in this process: {why}")
    return result
