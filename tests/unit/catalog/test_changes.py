"""Changes of products."""

from catalog.changes import join_fields, merge_fields


def test_fields_are_merged_into_a_product() -> None:
    row = {"id": "a", "title": "x", "price_micros": 1, "attributes": [("ram", "8 GB"), ("cpu", "old")]}
    changed = {"price_micros": 2, "attributes.ram": "16 GB", "attributes.cpu": None, "attributes.new": "yes"}
    assert merge_fields(row, changed) == {
        "id": "a",
        "title": "x",
        "price_micros": 2,
        "attributes": [("ram", "16 GB"), ("new", "yes")],
    }
    assert merge_fields(row, {"attributes": None, "attributes.new": "yes"})["attributes"] == [("new", "yes")]
    assert merge_fields({**row, "attributes": [("ram", "8 GB")]}, {"attributes.ram": None})["attributes"] is None


def test_fields_of_two_updates_are_those_of_one() -> None:
    row = {"id": "a", "attributes": [("ram", "8 GB"), ("cpu", "old")]}
    updates = [{"attributes.ram": "16 GB"}, {"attributes": [("hue", "red")]}, {"attributes.hue": None, "brand": "B"}]
    joined: dict[str, object] = {}
    merged: dict[str, object] = row
    for update in updates:
        joined, merged = join_fields(joined, update), merge_fields(merged, update)
    assert merge_fields(row, joined) == merged == {"id": "a", "attributes": None, "brand": "B"}
    assert merge_fields(row, join_fields(updates[0], {"attributes.cpu": "new"}))["attributes"] == [
        ("ram", "16 GB"),
        ("cpu", "new"),
    ]
