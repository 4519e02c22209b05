"""Files that are whole or absent: written beside, made durable, then renamed. Read only if plain files."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.errors import ReleaseError

# What a failed write cleans up after. A process that is killed, or a machine that stops, cleans up nothing.
FAILURES = (Exception, KeyboardInterrupt)
_CHUNK = 1 << 20
_UNFINISHED = ".unfinished-"


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a plain file. Raises ReleaseError for a link, a folder, a device, or more than `most` bytes.

    Raises FileNotFoundError where there is nothing, OSError where it cannot be read.
    """
    if path.is_symlink():
        raise ReleaseError(f"{path} is a link; put the file itself there")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ReleaseError(f"{path} is not a file")
    with os.fdopen(handle, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ReleaseError(f"{path} is longer than {most:,} bytes, as no such file is")
    return data


def write_text(path: Path, text: str) -> None:
    """Writes a new file durably."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a new file durably."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_text(path: Path, text: str) -> None:
    """Puts a file in place of the one there, which stays as it is on failure. Leaves no scratch file then."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """The same of bytes."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        write_bytes(scratch, data)
        scratch.rename(path)
    except FAILURES:
        scratch.unlink(missing_ok=True)
        raise
    sync(path.parent)


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it that are missing, each durable. Nothing happens where it is there."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of `target`, durably; on failure nothing is left of it.

    It is locked meanwhile, so that others remove what killed processes left, and nothing else.
    """
    make_folder(target.parent)
    for leftover in target.parent.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError), _locked(leftover):
            shutil.rmtree(leftover)
    folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
    with _locked(folder):
        try:
            folder.chmod(0o755)
            yield folder
            for path in (*folder.rglob("*"), folder):
                sync(path)
            remove(target)
            folder.rename(target)
            sync(target.parent)
        except FAILURES:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises BlockingIOError where another process has it locked."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def allocate(path: Path) -> None:
    """Gives a file that will be mapped and written the room for all its bytes. Raises OSError where there is none.

    Without it a full disk ends the process by SIGBUS.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # not of this system, or of this file system
            if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            _rewrite(file, size)


def sync(path: Path) -> None:
    """Makes a file, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rewrite(file: IO[bytes], size: int) -> None:
    for start in range(0, size, _CHUNK):
        file.seek(start)
        data = file.read(min(_CHUNK, size - start))
        file.seek(start)
        file.write(data)


def remove(path: Path) -> None:
    """Removes a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
