"""Files that are whole or absent: written beside, made durable, then renamed. Read only if plain files."""

import os
import shutil
import stat
from pathlib import Path

from core.errors import ReleaseError

# What a failed write cleans up after. A process that is killed, or a machine that stops, cleans up nothing.
FAILURES = (Exception, KeyboardInterrupt)


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a plain file. Raises ReleaseError for a link, a folder, a device, or more than `most` bytes.

    Raises FileNotFoundError where there is nothing, OSError where it cannot be read.
    """
    if path.is_symlink():
        raise ReleaseError(f"{path} is a link; put the file itself there")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(handle, "rb") as file:  # noqa: PTH123 (a path would be followed, and a pipe waited for)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ReleaseError(f"{path} is not a file")
        data = file.read(most + 1)
    if len(data) > most:
        raise ReleaseError(f"{path} is longer than {most:,} bytes, as no such file is")
    return data


def write_text(path: Path, text: str) -> None:
    """Writes a new file durably."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_text(path: Path, text: str) -> None:
    """Puts a file in place of the one there, which stays as it is on failure. Leaves no scratch file then."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        write_text(scratch, text)
        scratch.rename(path)
    except FAILURES:
        scratch.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Removes a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
