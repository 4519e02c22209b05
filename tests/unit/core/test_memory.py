"""What the garbage collector looks at, and where the C library puts large blocks."""

import gc
import platform
import subprocess
import sys
import weakref

import pytest

from core.memory import freeze_objects

# Of glibc's mallinfo2: how many blocks lie outside the heaps.
PLACES = """
import ctypes
from core.memory import separate_blocks

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]

class Info(ctypes.Structure):
    _fields_ = [(str(place), ctypes.c_size_t) for place in range(10)]

library.mallinfo2.restype = Info

def apart(size):
    before = getattr(library.mallinfo2(), "3")
    block = library.malloc(ctypes.c_size_t(size))
    more = getattr(library.mallinfo2(), "3") - before
    library.free(block)
    return more

def places():
    return [apart(size) for size in (64 << 10, 256 << 10, 16 << 20)]

apart(31 << 20)
print(places())
with separate_blocks():
    print(places())
print(places())
"""


class Node:
    """Something that can be referred to weakly."""


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_frozen_objects_are_not_looked_at_and_are_freed_by_their_references() -> None:
    node = Node()
    assert any(each is node for each in gc.get_objects())
    freeze_objects()
    assert not any(each is node for each in gc.get_objects())
    reference = weakref.ref(node)
    del node
    assert reference() is None


def test_later_cycles_are_collected() -> None:
    freeze_objects()
    node = Node()
    node.itself = node
    reference = weakref.ref(node)
    del node
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_blocks_lie_outside_the_heaps_meanwhile_and_only_then() -> None:
    run = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[0, 0, 0]", "[0, 1, 1]", "[0, 0, 0]"]
