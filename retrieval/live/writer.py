"""Writes changes: cleaned rows get their vectors, go into the change log together, and are waited for."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from catalog.change_log.protocol import ChangeLog
from catalog.changes import Change, ChangeKind, Entry, NewEntry
from catalog.product import product_text
from catalog.versions import Answer, Outcome
from retrieval.live.overlay import Overlay
from retrieval.live.rows import CleanedRow
from retrieval.live.state import PATCHED, Models, is_unit

_APPENDING = 16  # requests that wait for the disk together
_WARNED_SHARE = 0.8
_FULL = (
    "the catalog holds {:,} fresh products, and {:,} more go beyond the bound of {:,} (setting max_fresh): fold them "
    "in with `tandem index`, then send the request again"
)
_NEARLY_FULL = "the catalog holds {:,} fresh products of at most {:,}: fold them in with `tandem index`"
_NO_VECTOR = CleanedRow("", None, "no_vector", "the item tower has no vector for its text")


_Result = TypeVar("_Result")


async def _at_once() -> None:
    """What a change waits for that waits for no other."""


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


class ChangeWriter:
    """Writes the changes of one release's catalog. For use from one event loop."""

    def __init__(self, overlay: Overlay, entries: ChangeLog, models: Models, most_fresh: int) -> None:
        self._overlay = overlay
        self._entries = entries
        self._models = models
        self._most_fresh = most_fresh
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="change")
        self._appending = ThreadPoolExecutor(_APPENDING, thread_name_prefix="append")
        self._coming = 0  # fresh products that are on their way into the log

    def close(self) -> None:
        """Takes no more changes; what is being written ends first."""
        self._embedding.shutdown(wait=False)
        self._appending.shutdown(wait=False)

    async def clean(self, work: Callable[[], _Result]) -> _Result:
        """What the work returns, on the thread that cleans and embeds."""
        return await asyncio.get_running_loop().run_in_executor(self._embedding, work)

    async def write(
        self,
        rows: Sequence[CleanedRow],
        request_id: str,
        before: Callable[[], Awaitable[object]] = _at_once,
        written: Callable[[], None] = lambda: None,
    ) -> Written:
        """Writes what the rows ask for and returns once searches see it.

        `before` is awaited before the log is written, and `written` is called afterwards: changes of one stream keep
        their order. Raises TooManyFresh, RequestIdInUse, or ChangeLogError.
        """
        name = request_id or uuid.uuid4().hex
        embedded, fresh = await self.clean(lambda: self._embed(rows))
        changes = tuple(row.change for row in embedded if row.change is not None)
        if not changes:
            return Written(name, 0, tuple(embedded), (None,) * len(embedded))
        answer = self._overlay.answer(request_id) if request_id else None
        if answer is None:
            answer = await self._append(NewEntry(_now(), name, changes), fresh, before, written)
        if len(answer.outcomes) != len(changes):
            raise RequestIdInUse(f"request_id {name!r} was used for another request; send this one under another")
        outcomes = iter(answer.outcomes)
        each = tuple(None if row.change is None else next(outcomes) for row in embedded)
        return Written(name, answer.revision, tuple(embedded), each, self._warnings())

    async def _append(
        self, entry: NewEntry, fresh: int, before: Callable[[], Awaitable[object]], written: Callable[[], None]
    ) -> Answer:
        """Writes the entry and waits until searches see it."""
        self._check_room(fresh)
        self._coming += fresh
        try:
            await before()
            loop = asyncio.get_running_loop()
            # The disk is not interrupted: whoever called may have gone, and the entry is written all the same.
            [kept] = await asyncio.shield(loop.run_in_executor(self._appending, self._entries.append, [entry]))
            written()
            await self.wait(kept.revision)
        finally:
            self._coming -= fresh
        return self._overlay.answer(entry.request_id) or _unknown(kept)

    async def wait(self, revision: int) -> None:
        """Returns once searches see the revision. Raises RevisionNotThere where the release is replaced before."""
        try:
            await asyncio.wrap_future(self._overlay.visible(revision))
        except asyncio.CancelledError:
            if self._overlay.closed and not _is_cancelled():
                raise RevisionNotThere("the release was replaced meanwhile; send the request again") from None
            raise

    def _check_room(self, fresh: int) -> None:
        there = self._overlay.fresh + self._coming
        if fresh and there + fresh > self._most_fresh:
            raise TooManyFresh(_FULL.format(there, fresh, self._most_fresh))

    def _warnings(self) -> tuple[str, ...]:
        there = self._overlay.fresh
        return (_NEARLY_FULL.format(there, self._most_fresh),) if there >= _WARNED_SHARE * self._most_fresh else ()

    def _embed(self, rows: Sequence[CleanedRow]) -> tuple[list[CleanedRow], int]:
        """The rows, those of new texts with their vectors, and how many of them will be fresh products.

        A row is rejected where the item tower has no vector for it: nobody could find it by its meaning.
        """
        result = list(rows)
        texts: dict[int, str] = {}
        fresh = 0
        for place, row in enumerate(rows):
            change = row.change
            if change is None or change.product is None:
                continue
            before = self._overlay.row(change.product_id)
            if change.kind is ChangeKind.update_fields:
                fresh += before is not None and not PATCHED.issuperset(change.product)
            elif before is None or not PATCHED.issuperset(_changed(before, change)):
                fresh += 1
                text = product_text(change.product)
                if before is None or product_text(before) != text:
                    texts[place] = text
        vectors = self._models.embed(list(texts.values()))
        for place, vector in zip(texts, vectors, strict=True):
            made = result[place].change
            assert made is not None, "only rows with a change have texts"
            if is_unit(vector):
                data = vector.astype("<f2").tobytes()
                result[place] = replace(result[place], change=replace(made, vector=data, encoder=self._models.digest))
            else:
                result[place] = replace(_NO_VECTOR, product_id=made.product_id)
        return result, fresh


def _changed(before: dict[str, object], change: Change) -> list[str]:
    assert change.product is not None
    return [name for name, value in change.product.items() if before[name] != value]


def _unknown(entry: Entry) -> Answer:
    """The answer to an entry so old that what came of it is forgotten: it was applied."""
    return Answer(entry.revision, (Outcome.applied,) * len(entry.changes))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _now() -> int:
    return time.time_ns() // 1_000_000
