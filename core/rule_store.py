"""Merchandising rules on disk, beside the releases of a catalog: versions, and one pointer.

    <root>/catalogs/<catalog>/rules/rules-12-20261201T080000Z-1a2b3c4d5e6f7a8b.json    each version once
    <root>/catalogs/<catalog>/rules/current                                           what is served, what was before

A version's name has its number, its time and the beginning of its SHA-256. Publishing writes the version first and the
pointer last, each made durable before the next.
"""

import contextlib
import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.digest import bytes_digest
from core.durable import FAILURES, make_folder, read_file, replace_text
from core.errors import ReleaseError, RulesError
from core.pointer import PointerContent, read_pointer, step, write_pointer
from core.releases import ReleaseStore
from core.rules import RulesFile
from core.rules_file import dump_rules, parse_rules
from core.strings import quoted

MOST_VERSIONS = 100
_NAME = re.compile(r"rules-([0-9]{1,9})-([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{16})")
_POINTER = "current"
_REMEDY = "publish rules again, or choose a version with `tandem rules rollback --to`"
_MOST_BYTES = 64 << 20  # JSON takes more room than TOML


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """A published version, by its name; `rules` is how many there are, None where the file is damaged."""

    name: str
    created: datetime
    rules: int | None
    damage: str = ""


class RuleStore:
    """The published rules of one catalog. Reading needs no lock; publishing takes one, which no index job holds."""

    def __init__(self, store: ReleaseStore, catalog: str) -> None:
        """Raises ReleaseError for a name that no catalog can have."""
        self.catalog = catalog
        self._audit = store.audit
        self.folder = store.folder(catalog) / "rules"

    def trail(self) -> tuple[PointerContent, ...]:
        """What is served, then what was before it; empty before the first is published.

        Raises ReleaseError for a pointer that is damaged.
        """
        return read_pointer(self.folder / _POINTER, _NAME, _REMEDY)

    def read(self, name: str, sha256: str | None = None) -> RulesFile:
        """One version, once its digest was checked: that one, where it is known. Raises RulesError."""
        if not (form := _NAME.fullmatch(name)):
            raise RulesError(f"{quoted(name)} is no version of rules; see `tandem rules list`")
        try:
            data = read_file(self._path(name), _MOST_BYTES)
        except FileNotFoundError:
            raise RulesError(f"catalog {self.catalog!r} has no rules {name}; see `tandem rules list`") from None
        except OSError as error:
            raise RulesError(f"rules {name}: cannot be read: {error.strerror}") from None
        except ReleaseError as error:
            raise RulesError(f"rules {name}: {error}") from None
        digest = bytes_digest(data)
        if not digest.startswith(form[3]) or (sha256 and digest != sha256):
            raise RulesError(f"rules {name}: the file differs from its digest; {_REMEDY}")
        return parse_rules(data, f"rules {name}", is_json=True)

    def versions(self) -> list[RulesVersion]:
        """All versions in the order of their publishing, damaged ones too."""
        return [self._listed(name) for name in self._names()]

    def publish(self, rules: RulesFile) -> tuple[str, bool]:
        """Makes a version of the rules and points to it; returns its name, and whether it is new.

        The same rules as those that are served are not published again. What it wrote is removed on failure. Raises
        RulesError where another process is at it, or the folder cannot be written.
        """
        text = dump_rules(rules)
        digest = bytes_digest(text.encode())
        with self._lock():
            trail = self._readable_trail()
            if trail and trail[0].sha256 == digest:
                with contextlib.suppress(RulesError):  # damaged: it is written anew
                    self.read(trail[0].release, digest)
                    return trail[0].release, False
            number = 1 + max((_number(name) for name in (*self._names(), *(one.release for one in trail))), default=0)
            name = f"rules-{number}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{digest[:16]}"
            try:
                replace_text(self._path(name), text)
                self._point(trail, PointerContent(name, digest, number), "publish rules")
            except FAILURES:
                if not self._is_served(name):
                    self._path(name).unlink(missing_ok=True)
                raise
            self._drop_old(name)
        return name, True

    def rollback(self, to: str | None = None) -> str:
        """Points to an earlier version: the named one, or the last whole one that was served before.

        Raises RulesError where there is none, or ReleaseError where it is not known what was served.
        """
        with self._lock():
            if to is not None:
                self.read(to)
                trail = self._readable_trail()
                self._point(trail, PointerContent(to, bytes_digest(self._path(to).read_bytes()), _number(to)))
                return to
            trail = self.trail()
            for entry in trail[1:]:
                with contextlib.suppress(RulesError):
                    self.read(entry.release, entry.sha256)
                    self._point(trail, entry)
                    return entry.release
        raise RulesError(
            f"catalog {self.catalog!r} has no whole rules before those in service; publish a file without rules to "
            "have none"
        )

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _names(self) -> list[str]:
        names = (path.stem for path in self.folder.glob("rules-*.json"))
        return sorted(filter(_NAME.fullmatch, names), key=_number)

    def _listed(self, name: str) -> RulesVersion:
        created = datetime.strptime(name.split("-")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        try:
            return RulesVersion(name, created, len(self.read(name).rules))
        except RulesError as error:
            return RulesVersion(name, created, None, str(error))

    def _readable_trail(self) -> tuple[PointerContent, ...]:
        """The trail; empty where it is damaged, since publishing writes a new one."""
        with contextlib.suppress(ReleaseError):
            return self.trail()
        return ()

    def _is_served(self, name: str) -> bool:
        return any(entry.release == name for entry in self._readable_trail()[:1])

    def _point(self, trail: tuple[PointerContent, ...], target: PointerContent, action: str = "rollback rules") -> None:
        there = [entry for entry in step(trail, target) if entry.sha256 and self._path(entry.release).is_file()]
        self._audit.record(action, self.catalog, rules=target.release, before=trail[0].release if trail else "")
        write_pointer(self.folder / _POINTER, there)

    def _drop_old(self, served: str) -> None:
        """Keeps the newest versions. The one that is served is the newest."""
        for name in self._names()[:-MOST_VERSIONS]:
            if name != served:
                self._path(name).unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                make_folder(self.folder)
                file = stack.enter_context((self.folder / ".lock").open("w"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RulesError(f"another process publishes rules of catalog {self.catalog!r}: try again") from None
            except OSError as error:
                raise RulesError(
                    f"{error.filename or self.folder} cannot be written: {error.strerror}; run it as who may"
                ) from None
            for leftover in self.folder.glob(".*-[0-9]*"):  # of processes that ended in the midst of it
                leftover.unlink(missing_ok=True)
            yield


def _number(name: str) -> int:
    return int(name.split("-")[1])
