"""What the C library and the garbage collector do with memory."""

import ctypes
import gc
from contextlib import suppress


def trim_memory() -> None:
    """Has glibc give free pages back to the system. Does nothing with another C library.

    Releases are loaded on threads, each with a heap of its own, and what one leaves free another does not reuse.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
