"""The folder in which index jobs of a catalog work; only embeddings and the quarantine outlast a job."""

import contextlib
import errno
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss

from core.durable import FAILURES, remove
from core.errors import ReleaseError

EMBEDDINGS = "embeddings"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOW_SPACE = 64 << 20
_BUFFER = 1 << 20


@contextmanager
def work_folder(folder: Path, keep: Collection[str]) -> Iterator[Path]:
    """The folder, cleared of the files of a killed job; after a failure only embeddings and the `keep` files stay.

    Raises ReleaseError for an OSError that names no file, as those of libraries do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder, ())
    try:
        yield folder
    except OSError as error:
        refusal = None if error.filename else _describe_failure(error, folder)
        _clear(folder, keep)
        if refusal is None:
            raise
        raise refusal from error
    except FAILURES:
        _clear(folder, keep)
        raise


def write_index(index: faiss.Index, path: Path) -> None:
    """Writes a FAISS index by Python's file, since FAISS's own hides it when a full disk swallows the end."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, _BUFFER))  # type: ignore[attr-defined]


def _clear(folder: Path, keep: Collection[str]) -> None:
    for path in folder.iterdir():
        if path.name not in (EMBEDDINGS, *keep):
            with contextlib.suppress(OSError):
                remove(path)


def _describe_failure(error: OSError, folder: Path) -> ReleaseError:
    free = shutil.disk_usage(folder).free
    full = error.errno in _FULL or free < _LOW_SPACE
    remedy = "free some space" if full else "see that files can be written there"
    if error.errno == errno.EFBIG:
        remedy = "allow larger files (ulimit -f)"
    reason = f"{error.strerror or error}; {free / 2**20:,.1f} MiB are free"
    return ReleaseError(f"indexing in {folder} stopped: {reason}: {remedy} and run again")
