"""Threads that change products: they leave the cores to searches."""

import os
import threading

from engine.vector.index import use_one_thread

_NICE = 0


def stay_behind() -> None:
    """Has the calling thread use one core, and that only where no search needs it. Linux has priorities for threads."""
    use_one_thread()
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
