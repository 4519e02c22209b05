"""References outlive the views they were made in: rows move, products do not get lost."""

import numpy as np
from live_states import PlainSegments, delete, entry, live_state, product, upsert

from catalog.references import find_rows, make_references

BASE = [product(name, name) for name in "abcd"]


def test_products_are_where_they_are_now() -> None:
    state = live_state(BASE, PlainSegments())
    state.apply([entry(1, upsert(product("e", "e"))), entry(2, upsert(product("f", "f")))])
    before = state.view()
    names = ["d", "f", "a", "e", "b"]
    rows = np.array([before.ids().index(name) for name in names])
    references = make_references(before, rows)
    assert find_rows(before, references).tolist() == rows.tolist()

    # b and e are replaced, a is gone, and other segments come before and after.
    for revision in range(3, 9):
        state.apply([entry(revision, upsert(product(f"x{revision}", "x")))])
    state.apply([entry(9, upsert(product("b", "b2")), upsert(product("e", "e2")), delete("a"))])
    merge = state.stack.start_merge()
    assert merge is not None
    state.stack.finish_merge(merge, state.stack.run_merge(merge))
    after = state.view()
    there = find_rows(after, references)
    assert [None if row < 0 else after.id(row) for row in there.tolist()] == ["d", "f", None, "e", "b"]
    assert [after.row(row)["title"] for row in there[[3, 4]].tolist()] == ["e2", "b2"]


def test_foreign_references_stand_for_nothing() -> None:
    state = live_state(BASE, PlainSegments())
    foreign = np.array([4, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
    assert find_rows(state.view(), foreign).tolist() == [-1] * 4
    state.apply([entry(1, upsert(product("e", "e")))])
    assert find_rows(state.view(), foreign).tolist() == [-1] * 4
    assert find_rows(state.view(), np.empty(0, np.uint32)).tolist() == []
