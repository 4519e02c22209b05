"""What entries make of a release: places of products, patches, vectors, versions, repeats, merges."""

import numpy as np
import pytest
from live_states import (
    HashingModels,
    PlainSegments,
    delete,
    entry,
    hashed_vector,
    live_state,
    product,
    products_of,
    update,
    upsert,
)

from catalog.product import product_text
from catalog.versions import Outcome
from retrieval.live.state import LiveState

BASE = [product("a", "lamp", price_micros=1_000_000), product("b", "sofa"), product("c", "desk")]


@pytest.fixture
def models() -> HashingModels:
    return HashingModels()


@pytest.fixture
def segments() -> PlainSegments:
    return PlainSegments()


@pytest.fixture
def state(models: HashingModels, segments: PlainSegments) -> LiveState:
    return live_state(BASE, segments, models)


def titles(state: LiveState) -> dict[str, str]:
    return {name: row["title"] for name, row in products_of(state).items()}


def test_products_are_added_replaced_and_removed(state: LiveState) -> None:
    [answer] = state.apply([entry(1, upsert(product("d", "chair")), upsert(product("a", "torch")), delete("b"))])
    assert answer.revision == 1 and answer.outcomes == (Outcome.applied,) * 3
    assert titles(state) == {"a": "torch", "c": "desk", "d": "chair"}
    assert state.view().revision == 1 and state.stack.fresh == 2
    state.apply([entry(2, upsert(product("b", "sofa bed")), delete("d"))])
    assert titles(state) == {"a": "torch", "b": "sofa bed", "c": "desk"} and state.stack.fresh == 2


def test_a_batch_changes_each_product_once(state: LiveState, models: HashingModels, segments: PlainSegments) -> None:
    state.apply([entry(1, upsert(product("d", "one"))), entry(2, upsert(product("d", "two"))), entry(3, delete("a"))])
    assert titles(state) == {"b": "sofa", "c": "desk", "d": "two"} and state.revision == 3
    assert segments.calls == [("build", 1)] and models.texts == ["two"]
    state.apply([entry(4, upsert(product("e", "gone"))), entry(5, delete("e"))])
    assert "e" not in titles(state) and segments.calls == [("build", 1)]


def test_prices_and_stock_change_where_the_product_is(
    state: LiveState, models: HashingModels, segments: PlainSegments
) -> None:
    state.apply([entry(1, update("a", price_micros=5), upsert(product("b", "sofa", availability="in_stock")))])
    products = products_of(state)
    assert products["a"]["price_micros"] == 5 and products["b"]["availability"] == "in_stock"
    assert segments.calls == [("patch", 2)] and not models.texts and state.stack.fresh == 0
    assert len(state.view().segments) == 1
    state.apply([entry(2, upsert(product("d", "chair"))), entry(3, update("d", price_micros=9, title="stool"))])
    state.apply([entry(4, update("d", popularity=3.0))])
    changed = products_of(state)["d"]
    assert (changed["title"], changed["price_micros"], changed["popularity"]) == ("stool", 9, 3.0)
    assert segments.calls[1:] == [("build", 1), ("patch", 1)] and models.texts == ["stool"]


def test_an_upsert_of_what_is_there_already_changes_nothing(state: LiveState, segments: PlainSegments) -> None:
    [answer] = state.apply([entry(1, upsert(BASE[0]))])
    assert answer.outcomes == (Outcome.applied,) and segments.calls == []


def test_a_vector_of_the_log_is_taken_if_it_is_of_the_same_tower(state: LiveState, models: HashingModels) -> None:
    vector = hashed_vector("somewhere")
    data = vector.astype("<f2").tobytes()
    state.apply([entry(1, upsert(product("d", "chair"), vector=data, encoder="tower"))])
    place = state.stack.place("d")
    assert place is not None and not models.texts
    assert state.stack.vector(place) == pytest.approx(vector, abs=1e-3)
    state.apply([entry(2, upsert(product("e", "stool"), vector=data, encoder="another"))])
    broken = np.full(8, np.nan, "<f2").tobytes()
    state.apply([entry(3, upsert(product("f", "bench"), vector=broken, encoder="tower"))])
    assert models.texts == ["stool", "bench"]


def test_a_fresh_product_keeps_its_vector_while_its_text_stays(state: LiveState, models: HashingModels) -> None:
    state.apply([entry(1, upsert(product("d", "chair", gtin="1")))])
    state.apply([entry(2, upsert(product("d", "chair", gtin="2")))])
    place = state.stack.place("d")
    assert place is not None and models.texts == ["chair"]
    assert state.stack.vector(place) == pytest.approx(hashed_vector(product_text(product("d", "chair"))))


def test_a_product_without_a_vector_is_not_served(state: LiveState, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(HashingModels):
        def embed(self, texts: list[str]) -> np.ndarray:  # type: ignore[override]
            return np.full((len(texts), 8), np.nan, np.float32)

    broken = live_state(BASE, PlainSegments(), Broken())
    broken.apply([entry(1, upsert(product("d", "chair")), update("a", price_micros=3))])
    assert set(titles(broken)) == {"a", "b", "c"} and "no vector for ['d']" in caplog.text


def test_the_newer_version_wins_and_a_deleted_one_stays_deleted(state: LiveState) -> None:
    outcomes = [
        state.apply([entry(revision, change)])[0].outcomes[0]
        for revision, change in enumerate(
            [
                upsert(product("a", "v5"), 5),
                upsert(product("a", "v4"), 4),
                upsert(product("a", "v5 again"), 5),
                delete("a", 7),
                upsert(product("a", "v6"), 6),
                update("a", 8, price_micros=1),
                upsert(product("a", "unversioned")),
            ],
            1,
        )
    ]
    assert [one.name for one in outcomes] == [
        "applied",
        "stale",
        "unchanged",
        "applied",
        "stale",
        "missing",
        "applied",
    ]
    assert titles(state)["a"] == "unversioned"


def test_a_request_that_comes_again_changes_nothing(state: LiveState) -> None:
    first = state.apply([entry(1, upsert(product("d", "one")), request_id="r")])
    state.apply([entry(2, delete("d"))])
    assert state.apply([entry(3, upsert(product("d", "one")), request_id="r")]) == first
    assert "d" not in titles(state) and state.revision == 3


def test_many_segments_are_merged_and_nothing_changes_for_searches(state: LiveState, segments: PlainSegments) -> None:
    for revision in range(1, 8):
        state.apply([entry(revision, upsert(product(f"n{revision}", f"new {revision}")))])
    state.apply([entry(8, delete("n3"))])
    before = products_of(state)
    merge = state.stack.start_merge()
    assert merge is not None and state.stack.start_merge() is None, "one at a time"
    merged = state.stack.run_merge(merge)
    # What changes meanwhile is not lost: a deletion, a patch, a replacement, a new product.
    state.apply([entry(9, delete("n1"), update("n2", price_micros=7), upsert(product("n4", "newer")))])
    state.apply([entry(10, upsert(product("n9", "last")))])
    state.stack.finish_merge(merge, merged)
    after = products_of(state)
    expected = {**before, "n9": product("n9", "last"), "n4": product("n4", "newer")}
    expected["n2"] = {**before["n2"], "price_micros": 7}
    del expected["n1"]
    assert after == expected and len(state.view().segments) < 6
    place = state.stack.place("n5")
    assert place is not None and state.stack.vector(place) == pytest.approx(hashed_vector("new 5"))


def test_the_rows_of_merged_segments_grow_geometrically(segments: PlainSegments) -> None:
    state = live_state(BASE, segments)
    for revision in range(1, 201):
        state.apply([entry(revision, upsert(product(f"n{revision}", "new")))])
        if (merge := state.stack.start_merge()) is not None:
            state.stack.finish_merge(merge, state.stack.run_merge(merge))
        assert len(state.view().segments) <= 8
    merged = sum(rows for call, rows in segments.calls if call == "merge")
    assert merged < 200 * 10, "each row is copied some few times"
    assert len(products_of(state)) == 203
