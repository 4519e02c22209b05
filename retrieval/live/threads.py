"""Threads whose work is mostly a model's or an index's: they leave the cores to searches.

Threads that run much Python keep their priority: while one of them waits for a core it may hold the interpreter, and
all searches wait with it.
"""

import os
import threading

from engine.vector.index import use_one_thread

_NICE = 10


def stay_behind() -> None:
    """Has the calling thread use one core, and that only where no search needs it. Linux has priorities for threads."""
    use_one_thread()
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
