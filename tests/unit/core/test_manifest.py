from datetime import UTC, datetime

import pytest
from builders import entry, make_manifest
from pydantic import ValidationError

from core.manifest import FileEntry, Manifest, catalog_id, model_id, release_id


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "encoder/../../x", ""])
@pytest.mark.parametrize("part", ["model", "snapshot"])
def test_a_file_that_leaves_the_release_is_refused(name: str, part: str) -> None:
    good = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}).model_dump(mode="json")
    good[part]["files"][name] = {"sha256": "c" * 64, "size": 1}
    with pytest.raises(ValidationError, match="leaves the release"):
        Manifest.model_validate(good)


@pytest.mark.parametrize(
    "name",
    [
        "a//b",
        "./a",
        "a/",
        ".a",
        "a/.b",
        "a\\b",
        "a\0b",
        "a\nb",
        "C:a",
        "manifest.json",
        "Manifest.SHA256",
        "/".join("a" * 9),
    ],
)
def test_a_name_that_no_file_of_a_release_has_is_refused(name: str) -> None:
    good = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}).model_dump(mode="json")
    good["snapshot"]["files"][name] = {"sha256": "c" * 64, "size": 1}
    with pytest.raises(ValidationError, match="is none that a release has"):
        Manifest.model_validate(good)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"release_id": "x-1"},
        {"release_id": "r-../../x"},
        {"surprise": 1},
        {"created": "yesterday"},
    ],
)
def test_what_this_version_does_not_read_is_refused(change: dict) -> None:
    good = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}).model_dump(mode="json")
    assert Manifest.model_validate(good).release_id == good["release_id"]
    with pytest.raises(ValidationError):
        Manifest.model_validate(good | change)


@pytest.mark.parametrize("values", [("a" * 63, 1), ("A" * 64, 1), ("a" * 64, -1)])
def test_a_file_entry_is_a_digest_and_a_size(values: tuple[str, int]) -> None:
    with pytest.raises(ValidationError):
        FileEntry(sha256=values[0], size=values[1])


def test_files_of_both_parts_are_listed() -> None:
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")})
    assert manifest.files == {"encoder/a": entry("a"), "products.arrow": entry("b")}


def test_the_model_id_depends_on_names_and_content_alone() -> None:
    one = model_id({"encoder/a": entry("a"), "encoder/b": entry("b")})
    assert one == model_id({"encoder/b": entry("b"), "encoder/a": entry("a")})  # not on the order
    assert one == model_id({"encoder/a": entry("a", size=9), "encoder/b": entry("b")})
    assert one != model_id({"encoder/a": entry("b"), "encoder/b": entry("a")})
    assert one != model_id({"encoder/a": entry("a"), "ranker/b": entry("b")})


def test_the_catalog_id_is_the_digest_of_the_columns() -> None:
    assert catalog_id(entry("d")) == "c-" + "d" * 12


def test_release_ids_sort_by_time_and_tell_their_content_apart() -> None:
    early, late = datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
    assert release_id(early, "m", "c").startswith("r-20260930T235959Z-")
    assert release_id(early, "m", "c") < release_id(late, "m", "c")
    assert len({release_id(early, "m", "c"), release_id(early, "n", "c"), release_id(early, "m", "d")}) == 3


def test_a_manifest_of_before_lineage_reads_the_same() -> None:
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")})
    old = manifest.model_dump(mode="json")
    del old["model"]["lineage"]
    assert Manifest.model_validate(old) == manifest


def test_a_manifest_survives_its_file() -> None:
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}, country="IE")
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
