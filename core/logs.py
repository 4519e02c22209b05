"""What log lines look like: text for people, or one JSON object a line for machines.

The texts of exceptions may hold what a shopper typed: they are masked. What a line belongs to, a request and a trace,
is known where it is written: it is kept by task and thread.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

LogFormat = Literal["text", "json"]

request_id_now: ContextVar[str] = ContextVar("request_id_now", default="")
"""The request that the running task works on; empty where it works on none."""
trace_id_now: ContextVar[str] = ContextVar("trace_id_now", default="")
"""The trace that it belongs to, in hexadecimal, where one is recorded."""

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_NUMBERED_TEXT = "%(asctime)s %(levelname)s %(name)s [process {}] %(message)s"


@contextmanager
def request_scope(request_id: str) -> Iterator[None]:
    """Log lines written by this task and those it starts, while the block runs, carry the request's id."""
    token = request_id_now.set(request_id)
    try:
        yield
    finally:
        request_id_now.reset(token)


def utc_text(seconds: float) -> str:
    """A time in seconds since 1970, in UTC, as RFC 3339 writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_it_is(text: str) -> str:
    return text


class TextFormatter(logging.Formatter):
    """A line for people; exceptions follow, masked."""

    def __init__(self, process: int | None = None, mask: Callable[[str], str] = _as_it_is) -> None:
        """`process` is the number of one of several processes. `mask` masks personal data in one line."""
        super().__init__(_TEXT if process is None else _NUMBERED_TEXT.format(process))
        self._mask = mask

    def formatException(self, caught: Any) -> str:
        """See `logging.Formatter`."""
        return "\n".join(map(self._mask, super().formatException(caught).split("\n")))


class JsonFormatter(TextFormatter):
    """One JSON object a record, on one line, whatever its message holds."""

    def __init__(self, process: int | None = None, mask: Callable[[str], str] = _as_it_is) -> None:
        """As of `TextFormatter`."""
        super().__init__(process, mask)
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "time": utc_text(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process is not None:
            line["process"] = self._process
        if request_id := request_id_now.get():
            line["request_id"] = request_id
        if trace_id := trace_id_now.get():
            line["trace_id"] = trace_id
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(format: LogFormat, process: int | None = None, mask: Callable[[str], str] = _as_it_is) -> None:
    """Has every logger of this process write in the format, to standard error; `process` is its number among several,
    and `mask` masks personal data in a line of an exception.

    In JSON, warnings and exceptions that nobody caught are lines, too.
    """
    handler = logging.StreamHandler()
    handler.setFormatter((JsonFormatter if format == "json" else TextFormatter)(process, mask))
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("tandem").setLevel(logging.INFO)
    if format == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("tandem").critical("the process ends", exc_info=(kind, error, trace))


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None:
        caught = (failure.exc_type, failure.exc_value, failure.exc_traceback)
        logging.getLogger("tandem").error("a thread ended by an error", exc_info=caught)
