"""Content-addressed files: every content once, read-only, under its SHA-256."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.digest import file_digest
from core.durable import FAILURES, make_folder, sync
from core.errors import ReleaseError
from core.manifest import FileEntry

_SCRATCH = ".copy-"
_CHUNK = 1 << 20
_READ_ONLY = 0o444
# What file systems without hard links, or with no room for one more, answer.
_NO_LINKS = {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class Objects:
    """The files of one folder. It may be on another file system than the added files or the link targets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, path: Path) -> FileEntry:
        """Moves a finished file in and returns its content. The file at `path` is gone afterwards."""
        entry = _entry(path)
        if not self._holds(entry):
            make_folder(self.folder)
            sync(path)
            path.chmod(_READ_ONLY)
            try:
                path.rename(self._path(entry))
                sync(self.folder)
                return entry
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            self._copy(path, entry)
        path.unlink()
        return entry

    def add_copy(self, path: Path) -> FileEntry:
        """Like `add`, but leaves the file where it is, and copies nothing that is here already."""
        entry = _entry(path)
        if not self._holds(entry):
            make_folder(self.folder)
            self._copy(path, entry)
        return entry

    def link(self, entry: FileEntry, target: Path) -> None:
        """Puts an object's content at `target`: by hard link, or by a copy where links are not supported."""
        source = self._path(entry)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source, target)
            sync(target)

    def sweep(self) -> None:
        """Removes copies that ended processes left unfinished; those under way are locked and stay."""
        for path in self.folder.glob(f"{_SCRATCH}*"):
            with contextlib.suppress(OSError):  # it is gone or locked, or the next sweep tries again
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(handle)

    def drop_unused(self, used: Collection[str]) -> None:
        """Removes every object whose digest is not among these."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if not path.name.startswith(".") and path.name not in used:
                path.unlink()

    def _path(self, entry: FileEntry) -> Path:
        return self.folder / entry.sha256

    def _holds(self, entry: FileEntry) -> bool:
        """Whether the object is stored and intact: a damaged object is replaced."""
        path = self._path(entry)
        return path.is_file() and path.stat().st_size == entry.size and file_digest(path) == entry.sha256

    def _copy(self, path: Path, entry: FileEntry) -> None:
        with self._scratch() as (scratch, file):
            digest = hashlib.sha256()
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != entry.sha256:
                raise ReleaseError(f"{path} changed while it was copied; leave it alone and run again")
            file.flush()
            os.fsync(file.fileno())
            scratch.chmod(_READ_ONLY)
            scratch.rename(self._path(entry))
        sync(self.folder)

    @contextmanager
    def _scratch(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file to copy into, locked while this process lives; it is removed on failure."""
        while True:
            handle, name = tempfile.mkstemp(prefix=_SCRATCH, dir=self.folder)
            file = os.fdopen(handle, "wb")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                break
            file.close()  # another process swept it before it was locked
        scratch = Path(name)
        try:
            with file:
                yield scratch, file
        except FAILURES:
            scratch.unlink(missing_ok=True)
            raise


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=file_digest(path), size=path.stat().st_size)
