"""The log of what administrators did, so that a change of what it holds is seen: JSON lines in a chain of digests.

    {"action": "publish", "catalog": "shop", "digest": "…", "facts": {…}, "previous": "…", "sequence": 12, "time": …}

Each entry has the digest of the one before, so that none can be changed, moved or left out without all later ones. A
file beside it keeps the last entry's number and digest, so that a cut end is seen too. Whoever may write to both can
make a whole new chain: for that, keep the last digest elsewhere, as each is logged, and give it to `check`.
"""

import fcntl
import json
import logging
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from core.digest import bytes_digest
from core.durable import read_file, replace_text, sync
from core.errors import ReleaseError, TandemError
from core.strings import quoted

log = logging.getLogger("tandem.audit")

AUDIT_LOG = "audit.jsonl"
"""Among the releases, unless another is set."""
_FIRST = "0" * 64  # what the first entry has for a digest before it
_MOST_TEXT, _MOST_FACTS, _MOST_ENTRY = 300, 12, 64 << 10
_HEAD = re.compile(r"([0-9]{1,15}) ([0-9a-f]{64})\n?")
_FIELDS = {"action", "catalog", "digest", "facts", "previous", "sequence", "time", "who"}
_REMEDY = "find out who changed it, then move it and its .head aside, and a new one is begun"


class AuditError(TandemError):
    """The audit log was changed, or cannot be read."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when (ISO 8601, UTC) and to which catalog; `digest` is of all of it and of the entry before."""

    sequence: int
    time: str
    who: str
    action: str
    catalog: str
    facts: Mapping[str, str]
    previous: str
    digest: str = field(default="", compare=False)

    def line(self) -> str:
        """As it stands in the log, with its digest."""
        return json.dumps(self._content() | {"digest": self.expected}, sort_keys=True) + "\n"

    @property
    def expected(self) -> str:
        """The digest of its content."""
        return bytes_digest(json.dumps(self._content(), sort_keys=True, separators=(",", ":")).encode())

    def _content(self) -> dict[str, Any]:
        names = sorted(_FIELDS - {"digest", "facts"})
        return {name: getattr(self, name) for name in names} | {"facts": dict(self.facts)}


def current_user() -> str:
    """The name of the user of the operating system that this process runs as."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in containers
        return f"uid:{number}"


class AuditLog:
    """The log in one file, for any number of processes and threads."""

    def __init__(self, path: Path) -> None:
        """The file is made with its first entry."""
        self.path = path
        self._head = path.with_name(f"{path.name}.head")

    def record(self, action: str, catalog: str = "", who: str = "", **facts: str) -> AuditEntry:
        """Adds an entry, durably, before the act takes effect: so each act that did is in the log.

        Without `who` it is this process's user. Raises AuditError where its end was changed, OSError, with the file's
        name, where it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            made = not self.path.exists()
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                entry = self._append(file, action, catalog, who or current_user(), facts)
            if made:
                sync(self.path.parent)
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise
        names = " ".join(map(quoted, filter(None, (entry.who, entry.catalog))))
        log.info("audit %d %s: %s by %s", entry.sequence, entry.digest, quoted(action), names)
        return entry

    def check(self, known: str = "") -> list[AuditEntry]:
        """All entries, once every digest is verified. `known` is the digest of an entry that has to be among them.

        Raises AuditError with the first line at fault, or where entries are missing at the end.
        """
        head = self._read_head()  # before the entries, to which others may be added meanwhile
        entries, _ = self._read()
        digests = [entry.digest for entry in entries]
        if head is not None and (head[0] > len(entries) or digests[head[0] - 1] != head[1]):
            raise self._cut(head[0], len(entries))
        if known and known not in digests:
            raise AuditError(f"{self.path}: no entry has the digest {known}: the log was cut or made anew; {_REMEDY}")
        return entries

    def _append(self, file: IO[bytes], action: str, catalog: str, who: str, facts: Mapping[str, str]) -> AuditEntry:
        """Writes an entry behind the last whole one; what a write that was cut off left is removed, and named."""
        last, end, torn = self._last(file)
        head = self._read_head()
        if head is not None and head[0] > (last.sequence if last else 0):
            raise self._cut(head[0], last.sequence if last else 0)
        bounded = {name: text[:_MOST_TEXT] for name, text in list(facts.items())[:_MOST_FACTS]}
        if torn:
            file.truncate(end)
            bounded["removed"] = f"{torn} bytes of an entry that was cut off"
        sequence, previous = (last.sequence + 1, last.digest) if last else (1, _FIRST)
        time = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        entry = AuditEntry(sequence, time, who[:_MOST_TEXT], action, catalog, bounded, previous)
        entry = AuditEntry(**entry._content(), digest=entry.expected)
        line = entry.line().encode()
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise
        replace_text(self._head, f"{entry.sequence} {entry.digest}\n")
        return entry

    def _last(self, file: IO[bytes]) -> tuple[AuditEntry | None, int, int]:
        """The last whole entry, where it ends, and how many bytes are behind it."""
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - 2 * _MOST_ENTRY))
        data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.splitlines(keepends=True)
        if not lines:
            return None, start, len(data)
        return self._entry(lines[-1], "its last line"), start + len(whole), len(data) - len(whole)

    def _read(self) -> tuple[list[AuditEntry], int]:
        """The entries, and bytes behind them that a write left which was cut off."""
        entries: list[AuditEntry] = []
        try:
            with self.path.open("rb") as file:
                for entry, torn in self._entries(file):
                    if entry is None:
                        return entries, torn
                    entries.append(entry)
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise AuditError(f"{self.path}, the audit log, cannot be read: {error.strerror}") from None
        return entries, 0

    def _entries(self, file: IO[bytes]) -> Iterator[tuple[AuditEntry | None, int]]:
        previous = _FIRST
        number = 0
        while line := file.readline(_MOST_ENTRY + 1):
            number += 1
            if not line.endswith(b"\n") and len(line) <= _MOST_ENTRY:
                yield None, len(line)
                return
            entry = self._entry(line, f"line {number}")
            if entry.sequence != number or entry.previous != previous:
                raise AuditError(f"{self.path}: line {number} does not follow the one before: {_REMEDY}")
            previous = entry.digest
            yield entry, 0

    def _entry(self, line: bytes, place: str) -> AuditEntry:
        """Raises AuditError for a line that is no entry, or not as it was written."""
        try:
            content = json.loads(line)
            if not isinstance(content, dict) or set(content) != _FIELDS or not isinstance(content["facts"], dict):
                raise ValueError
            entry = AuditEntry(**content)
        except (ValueError, RecursionError, TypeError):
            raise AuditError(f"{self.path}: {place} is no entry: {_REMEDY}") from None
        if entry.expected != entry.digest:
            raise AuditError(f"{self.path}: {place} was changed after it was written: {_REMEDY}")
        return entry

    def _read_head(self) -> tuple[int, str] | None:
        try:
            text = read_file(self._head, 1_000).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except (OSError, ReleaseError) as error:
            raise AuditError(f"{self._head} cannot be read: {error}") from None
        if (head := _HEAD.fullmatch(text)) is None:
            raise AuditError(f"{self._head} is damaged: {_REMEDY}")
        return int(head[1]), head[2]

    def _cut(self, expected: int, there: int) -> AuditError:
        return AuditError(f"{self.path}: has {there:,} entries and had {expected:,}, or others: {_REMEDY}")
