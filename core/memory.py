"""Memory that the C library keeps after its owner let go of it."""

import ctypes
from contextlib import suppress


def trim_memory() -> None:
    """Has glibc give free pages back to the system. Does nothing with another C library.

    Releases are loaded on threads, each with a heap of its own, and what one leaves free another does not reuse.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
