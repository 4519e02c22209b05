"""What the C library and the garbage collector do with memory."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Parameters of glibc's mallopt, and in bytes what malloc begins with and what it comes to by itself at most.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LEAST_BLOCK, _MOST_BLOCK = 128 << 10, 32 << 20
# What may stay free at the end of a heap: more than requests use for a moment, and no more than that.
_SPARE = 16 << 20


def trim_memory() -> None:
    """Has glibc give free pages back to the system. Does nothing with another C library.

    Releases are loaded on threads, each with a heap of its own, and what one leaves free another does not reuse.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def separate_blocks() -> Iterator[None]:
    """Large blocks that are allocated meanwhile, on any thread, lie outside the heaps and go back to the system as soon
    as they are free. Does nothing with another C library than glibc.

    Left alone, glibc puts blocks of up to 32 MiB on the heaps once one so large was free. The blocks of a release come
    to lie among those of requests, and each replaced one leaves holes that the next does not fill. Blocks of requests
    stay on the heaps: to map them anew each time takes 5 to 10% of the queries/s.
    """
    _set_threshold(_LEAST_BLOCK)
    try:
        yield
    finally:
        _set_threshold(_MOST_BLOCK)


def _set_threshold(size: int) -> None:
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, size)
        library.mallopt(_M_TRIM_THRESHOLD, _SPARE)


def freeze_objects() -> None:
    """Leaves all objects that are alive now out of the garbage collector's passes; reference counts still free them.

    A full pass over a loaded release stops all threads for up to a quarter of a second.
    """
    gc.freeze()


def collect_frozen() -> None:
    """Frees what is garbage among frozen objects: cycles of references, such as those of errors and their frames.

    A full pass, which stops all threads. Nothing happens where nothing is frozen: the collector comes by itself then.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
