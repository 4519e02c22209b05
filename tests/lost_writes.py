"""What a power cut leaves of a folder: of files what was synced, of folders the names that were synced.

All else may be there or not, in any mixture: a name before its content, a content before its name. After a refused
sync, what was to be written counts as clean: a later sync does not write it, as Linux does it.
"""

import os
import random
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from system_calls import SYNCS, Call

Inode = tuple[int, int]


class Loss(Enum):
    """What of the unsynced is lost."""

    all = "all"
    contents = "contents"
    names = "names"
    some = "some"  # each for itself, by chance


@dataclass(slots=True)
class _File:
    """`handle` keeps the inode, so that no other file gets its number. `stale` marks bytes that no sync will write."""

    handle: int
    durable: bytes = b""
    stale: bytearray = field(default_factory=bytearray)

    def actual(self) -> bytes:
        return os.pread(self.handle, os.fstat(self.handle).st_size, 0)

    def sync(self) -> None:
        actual, old = bytearray(self.actual()), self.durable
        for place in (place for place, marked in enumerate(self.stale[: len(actual)]) if marked):
            actual[place] = old[place] if place < len(old) else 0
        self.durable = bytes(actual)

    def fail(self) -> None:
        actual, old = self.actual(), self.durable
        self.stale = bytearray(place >= len(old) or byte != old[place] for place, byte in enumerate(actual))

    def write(self, start: int, end: int) -> None:
        self.stale[start:end] = bytes(max(0, min(end, len(self.stale)) - start))


@dataclass(slots=True)
class _Folder:
    handle: int
    durable: dict[str, Inode] = field(default_factory=dict)


class LostWrites:
    """Follows a folder in which a process works. What is in it when it begins is durable, but for `unsynced`."""

    def __init__(self, root: Path, unsynced: str = "") -> None:
        """`unsynced` is the name of a folder below the root whose files' contents are not durable yet."""
        self._root = root
        self._files: dict[Inode, _File] = {}
        self._folders: dict[Inode, _Folder] = {}
        self.look()
        for path in (root, *root.rglob("*")):
            if path.is_dir():
                self._folders[_inode(path)].durable = self._entries(path)
            elif not unsynced or unsynced not in path.relative_to(root).parts:
                self._files[_inode(path)].sync()

    def close(self) -> None:
        """Lets go of all inodes."""
        for known in (*self._files.values(), *self._folders.values()):
            os.close(known.handle)

    def after(self, call: Call, result: int) -> None:
        """Takes note of a call that was carried out, or refused."""
        self.look()
        if call.name in SYNCS:
            self._sync(_inode(call.file), result >= 0)
        elif call.name in ("write", "pwrite64") and result > 0:
            known = self._files.get(_inode(call.file))
            if known is not None and known.stale:
                position = int(Path(f"/proc/{call.pid}/fdinfo/{call.handle}").read_text().split()[1])
                start = call.offset if call.name == "pwrite64" else position - result
                known.write(start, start + result)
        elif call.name == "ftruncate" and result >= 0 and (known := self._files.get(_inode(call.file))):
            del known.stale[len(known.actual()) :]

    def look(self) -> None:
        """Takes hold of what is new."""
        for path in (self._root, *self._root.rglob("*")):
            inode, is_folder = _inode(path), path.is_dir()
            if inode not in (self._folders if is_folder else self._files):
                handle = os.open(path, os.O_RDONLY)
                if is_folder:
                    self._folders[inode] = _Folder(handle)
                else:
                    self._files[inode] = _File(handle)

    def write(self, target: Path, loss: Loss, chance: random.Random) -> None:
        """Makes what is left by a power cut now, below `target`."""
        self._write(_inode(self._root), self._root, target, loss, chance, {})

    def _sync(self, inode: Inode, done: bool) -> None:
        if inode in self._folders and done:
            self._folders[inode].durable = self._entries(Path(f"/proc/self/fd/{self._folders[inode].handle}"))
        elif inode in self._files:
            (self._files[inode].sync if done else self._files[inode].fail)()

    def _entries(self, folder: Path) -> dict[str, Inode]:
        return {path.name: _inode(path) for path in folder.iterdir()}

    def _write(
        self,
        inode: Inode,
        actual: Path | None,
        target: Path,
        loss: Loss,
        chance: random.Random,
        made: dict[Inode, Path],
    ) -> None:
        target.mkdir()
        durable = self._folders[inode].durable
        now = self._entries(actual) if actual is not None else durable
        for name in sorted({*durable, *now}):
            keeps = {Loss.contents: now, Loss.some: chance.choice((durable, now))}.get(loss, durable)
            if (entry := keeps.get(name)) is None:
                continue
            path = target / name
            if entry in self._folders:
                inside = actual / name if actual is not None and now.get(name) == entry else self._place(entry)
                self._write(entry, inside, path, loss, chance, made)
            elif entry in made:
                os.link(made[entry], path)
            else:
                path.write_bytes(self._content(self._files[entry], loss, chance))
                made[entry] = path

    def _place(self, inode: Inode) -> Path | None:
        """Where a folder is now; None where it is gone."""
        return next((path for path in self._root.rglob("*") if path.is_dir() and _inode(path) == inode), None)

    def _content(self, known: _File, loss: Loss, chance: random.Random) -> bytes:
        if loss in (Loss.all, Loss.contents):
            return known.durable
        actual = known.actual()
        if loss is Loss.names or actual == known.durable:
            return actual
        old = known.durable[: len(actual)] + bytes(max(0, len(actual) - len(known.durable)))
        cut = chance.randrange(len(actual) + 1)
        return chance.choice((known.durable, actual, actual[:cut] + old[cut:], old[:cut] + actual[cut:], old))


def _inode(path: Path) -> Inode:
    status = path.stat()
    return status.st_dev, status.st_ino
