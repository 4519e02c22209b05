"""Writes changes: what came meanwhile is cleaned, gets its vectors and goes into the change log together."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from catalog.change_log.protocol import ChangeLog
from catalog.changes import Change, ChangeKind, NewEntry
from catalog.product import product_text
from catalog.versions import Answer, Outcome
from retrieval.live.overlay import Overlay
from retrieval.live.rows import CleanedRow
from retrieval.live.state import PATCHED, Models, is_unit
from retrieval.live.threads import stay_behind

_AT_ONCE = 16  # requests that are worked on together
_WARNED_SHARE = 0.8
_FULL = (
    "the catalog holds {:,} fresh products, and {:,} more go beyond the bound of {:,} (setting max_fresh): fold them "
    "in with `tandem index`, then send the request again"
)
_NEARLY_FULL = "the catalog holds {:,} fresh products of at most {:,}: fold them in with `tandem index`"
_NO_VECTOR = CleanedRow("", None, "no_vector", "the item tower has no vector for its text")

Read = Callable[[], list[CleanedRow]]


class TooManyFresh(Exception):
    """The catalog takes no more fresh products."""


class RequestIdInUse(Exception):
    """Another request had this name."""


class RevisionNotThere(Exception):
    """Searches here do not see a revision that a request asks for."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a request: for each row an outcome, or None where it was rejected; revision 0 where all were.

    `rows` are as they were written: some may have been rejected on the way.
    """

    request_id: str
    revision: int
    rows: tuple[CleanedRow, ...]
    outcomes: tuple[Outcome | None, ...]
    warnings: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class _Request:
    """A request on its way into the log: what reads its rows, then the rows, its answer if it came before, its
    revision, or why it failed."""

    read: Read
    name: str
    done: "asyncio.Future[None]"
    rows: list[CleanedRow] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    fresh: int = 0
    answer: Answer | None = None
    revision: int = 0
    error: Exception | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What its rows ask for."""
        return tuple(row.change for row in self.rows if row.change is not None)

    @property
    def is_written(self) -> bool:
        """Whether nothing is left to write."""
        return self.error is not None or self.answer is not None or not self.changes


class ChangeWriter:
    """Writes the changes of one release's catalog. For use from one event loop."""

    def __init__(self, overlay: Overlay, entries: ChangeLog, models: Models, most_fresh: int) -> None:
        self._overlay = overlay
        self._entries = entries
        self._models = models
        self._most_fresh = most_fresh
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="change", initializer=stay_behind)
        self._waiting: list[_Request] = []
        self._working: asyncio.Task[None] | None = None
        self._coming: dict[int, int] = {}  # fresh products of revisions that searches do not see yet

    def close(self) -> None:
        """Takes no more changes; what is being written ends first."""
        self._thread.shutdown(wait=False)

    async def write(self, read: Read, request_id: str) -> Written:
        """Writes the rows that `read` returns, and returns once searches see them. Requests are written in the order of
        the calls, and what `read` does is done on another thread.

        Raises TooManyFresh, RequestIdInUse, ChangeLogError, or what `read` raises.
        """
        loop = asyncio.get_running_loop()
        request = _Request(read, request_id or uuid.uuid4().hex, loop.create_future())
        self._waiting.append(request)
        if self._working is None:
            self._working = loop.create_task(self._work())
        await request.done
        if request.error is not None:
            raise request.error
        answer = request.answer
        if answer is None and request.revision:
            await self.wait(request.revision)
            answer = self._overlay.answer(request.name) or _unknown(request)
        return self._written(request, answer)

    async def wait(self, revision: int) -> None:
        """Returns once searches see the revision. Raises RevisionNotThere where the release is replaced before."""
        try:
            await asyncio.wrap_future(self._overlay.visible(revision))
        except asyncio.CancelledError:
            if self._overlay.closed and not _is_cancelled():
                raise RevisionNotThere("the release was replaced meanwhile; send the request again") from None
            raise

    def _written(self, request: _Request, answer: Answer | None) -> Written:
        rows = tuple(request.rows)
        if answer is None:
            return Written(request.name, 0, rows, (None,) * len(rows))
        if len(answer.outcomes) != len(request.changes):
            name = request.name
            raise RequestIdInUse(f"request_id {name!r} was used for another request; send this one under another")
        outcomes = iter(answer.outcomes)
        each = tuple(None if row.change is None else next(outcomes) for row in rows)
        fresh = self._overlay.fresh
        near = fresh >= _WARNED_SHARE * self._most_fresh
        warnings = (_NEARLY_FULL.format(fresh, self._most_fresh),) if near else ()
        return Written(request.name, answer.revision, rows, each, warnings)

    async def _work(self) -> None:
        """Writes what waits, until nothing does. What was begun is written though its caller goes meanwhile."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                try:
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)
                except Exception as error:
                    for request in batch:
                        if not request.is_written:
                            request.error = error
                for request in batch:
                    if not request.done.done():
                        request.done.set_result(None)
        finally:
            self._working = None

    def _write(self, batch: Sequence[_Request]) -> None:
        """Cleans, embeds and appends a batch, but for what nobody waits for any more. A request that fails leaves the
        others alone, but for a failing log."""
        batch = [request for request in batch if not request.done.done()]
        self._coming = {revision: n for revision, n in self._coming.items() if revision > self._overlay.revision}
        for request in batch:
            try:
                self._read(request)
            except Exception as error:
                request.error = error
        self._embed([request for request in batch if not request.is_written])
        self._check_room(batch)
        written = [request for request in batch if not request.is_written]
        entries = [NewEntry(_now(), request.name, request.changes) for request in written]
        for request, entry in zip(written, self._entries.append(entries), strict=True):
            request.revision = entry.revision
            self._coming[entry.revision] = request.fresh

    def _read(self, request: _Request) -> None:
        """Cleans the rows of a request, and notes which have new texts and how many will be fresh products."""
        request.rows = request.read()
        request.answer = self._overlay.answer(request.name)
        for place, row in enumerate(request.rows):
            change = row.change
            if change is None or change.product is None:
                continue
            before = self._overlay.row(change.product_id)
            if change.kind is ChangeKind.update_fields:
                request.fresh += before is not None and not PATCHED.issuperset(change.product)
            elif before is None or not PATCHED.issuperset(_changed(before, change)):
                request.fresh += 1
                text = product_text(change.product)
                if before is None or product_text(before) != text:
                    request.texts[place] = text

    def _embed(self, requests: Sequence[_Request]) -> None:
        """Gives rows with new texts their vectors. One is rejected where the item tower has none for it: nobody could
        find it by its meaning."""
        places = [(request, place) for request in requests for place in request.texts]
        vectors = self._models.embed([request.texts[place] for request, place in places])
        for (request, place), vector in zip(places, vectors, strict=True):
            change = request.rows[place].change
            assert change is not None, "only rows with a change have texts"
            if is_unit(vector):
                data = vector.astype("<f2").tobytes()
                embedded = replace(change, vector=data, encoder=self._models.digest)
                request.rows[place] = replace(request.rows[place], change=embedded)
            else:
                request.rows[place] = replace(_NO_VECTOR, product_id=change.product_id)

    def _check_room(self, batch: Sequence[_Request]) -> None:
        there = self._overlay.fresh + sum(self._coming.values())
        for request in batch:
            if request.is_written or not request.fresh:
                continue
            if there + request.fresh > self._most_fresh:
                request.error = TooManyFresh(_FULL.format(there, request.fresh, self._most_fresh))
            else:
                there += request.fresh


def _changed(before: dict[str, object], change: Change) -> list[str]:
    assert change.product is not None
    return [name for name, value in change.product.items() if before[name] != value]


def _unknown(request: _Request) -> Answer:
    """The answer to a request so old that what came of it is forgotten: it was applied."""
    return Answer(request.revision, (Outcome.applied,) * len(request.changes))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _now() -> int:
    return time.time_ns() // 1_000_000
