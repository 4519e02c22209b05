"""The request log: a JSON object a line for a share of the requests, and for every request of an experiment.

What shoppers type is masked, and shoppers are named by keyed hashes. A thread writes the lines; where it cannot keep
up, lines are dropped and counted, and no request waits.
"""

import json
import queue
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from core.filter_text import filter_text
from core.logs import utc_text
from retrieval.profiles.profiles import Profiles
from retrieval.profiles.protocol import ProfileError
from retrieval.telemetry.answered import Answered

_MOST_WAITING = 1000  # lines
_MOST_HITS = 50
_HASH_DIGITS = 32
_NOTHING: tuple[object, ...] = ("", None, [])  # values that are left out


class RequestLog:
    """Writes the lines of a process. For use from one event loop, until it is closed."""

    def __init__(
        self,
        share: float,
        profiles: Profiles | None = None,
        dropped: Callable[[], None] = lambda: None,
        file: IO[str] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`share` is of requests that belong to no experiment; `profiles` have the key for shoppers' ids, who are left
        out without it. `dropped` is called for each line that is lost, and `file` is standard error unless given."""
        self._share = share
        self._profiles = profiles
        self._dropped = dropped
        self._file = file or sys.stderr
        self._draw = draw
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def wants(self, experiment: tuple[str, str]) -> bool:
        """Whether a request is logged."""
        return any(experiment) or (self._share > 0 and self._draw() < self._share)

    def write(self, line: dict[str, Any]) -> None:
        """Writes a line soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="request log", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped()

    def close(self, seconds: float = 2.0) -> None:
        """Writes what waits, for so long at most."""
        if self._thread is not None:
            try:
                self._lines.put(None, timeout=seconds)
            except queue.Full:
                return
            self._thread.join(seconds)

    def _hash(self, user_id: str) -> str:
        """What stands for a shopper: a part of the keyed hash of the id; empty where there is no id, or no key."""
        if self._profiles is None or not user_id:
            return ""
        try:
            return self._profiles.hash(user_id).hex()[:_HASH_DIGITS]
        except ProfileError:
            return ""

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                # Here, and not on the event loop: it takes a tenth of a millisecond, and more the first time.
                private = _masked(line) | {"user": self._hash(line.get("user", ""))}
                kept = {name: value for name, value in private.items() if value not in _NOTHING}
                self._file.write(json.dumps(kept, ensure_ascii=False) + "\n")
                self._file.flush()
            except Exception:  # whoever read it has gone, or it cannot be masked; the next line gets its turn
                self._dropped()


def request_line(answered: Answered, seconds: float) -> dict[str, Any]:
    """What the log has of one request, answered within so many seconds, for `RequestLog.write`, which masks what was
    typed and hashes who typed it."""
    query, answer, release = answered.query, answered.answer, answered.release
    view = answer.view
    return {
        "time": utc_text(time.time()),
        "logger": "tandem.request_log",
        "method": answered.method,
        "request_id": answered.request_id,
        "catalog": release.manifest.catalog,
        "release": release.release_id,
        "revision": view.revision,
        "query": query.text,
        "searched_query": answer.searched_query,
        "filter": query.filter,
        "language": query.language,
        "country": query.country,
        "market": release.manifest.country,
        "user": query.user.user_id if query.user is not None else "",
        "experiment_id": answered.experiment[0],
        "variant_id": answered.experiment[1],
        "top_k": query.top_k,
        "offset": answer.offset,
        "hits": [view.id(hit.row) for hit in answer.hits[:_MOST_HITS]],
        "total": None if answer.total is None else answer.total.value,
        "redirect": answer.redirect,
        "candidates": {stage.name: stage.candidates_out for stage in answer.stages},
        "degraded": sorted({entry.reason for entry in answer.degraded}),
        "stages_ms": {stage.name: round(stage.seconds * 1000, 3) for stage in answer.stages},
        "milliseconds": round(seconds * 1000, 3),
    }


_TYPED = ("filter", "query", "searched_query", "experiment_id", "variant_id", "request_id", "language", "country")


def _masked(line: dict[str, Any]) -> dict[str, Any]:
    """The line, with what a caller or a shopper may have put into it masked."""
    from text.masking import mask_personal  # its libraries are loaded by services that log requests alone

    country = str(line.pop("market", None) or "")
    if line.get("filter") is not None:
        line["filter"] = filter_text(line["filter"])
    return line | {name: mask_personal(line[name], country) for name in _TYPED if line.get(name)}
