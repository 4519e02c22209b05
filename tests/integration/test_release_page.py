"""The page of the release format names every file of a release, and every field of its manifest."""

import json
import re
from collections.abc import Iterator

from core.releases import ReleaseStore
from docs.generate.release import release_page
from indexer.product_words import WEIGHTS


def fields(values: dict[str, object]) -> Iterator[str]:
    """Names of the manifest's fields; what tables such as digests by file are keyed by is left out."""
    for name, value in values.items():
        yield name
        if isinstance(value, dict) and name in (
            "model",
            "snapshot",
            "lexical",
            "cleaning",
            "index",
            "encoder",
            "ranker",
        ):
            yield from fields(value)


def test_the_page_names_every_file_and_every_field_of_a_release(indexed: ReleaseStore) -> None:
    (catalog,) = indexed.catalogs()
    (release,) = indexed.manifests(catalog)
    folder = indexed.path(catalog, release.release_id)
    page = release_page()
    known = set(re.findall(r"`([\w./*]+)`", page))
    known |= {name.replace("FIELD", field) for name in known for field in WEIGHTS}
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert len(files) > 20
    assert sorted(files - known) == []
    assert sorted(set(fields(json.loads((folder / "manifest.json").read_text()))) - known) == []
