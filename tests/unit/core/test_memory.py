"""What the garbage collector looks at."""

import gc
import weakref

import pytest

from core.memory import freeze_objects


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
