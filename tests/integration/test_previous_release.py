"""A release that the version before made, in `tests/data`: this version serves it and answers as that one did."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from core.manifest import FileEntry
from core.releases import ReleaseStore
from ranker.final import SPEC_FILE, FinalScore
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

_FOLDER = Path(__file__).resolve().parents[1] / "data" / "previous_release"
# Of each call its own, and what was added since.
_NOT_RECORDED = {"request_id", "duration", "feature_id", "understanding"}
_CLOSE = 2e-3  # int8 models round otherwise on other processors


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    shutil.copytree(_FOLDER, tmp_path / "releases")
    return ReleaseStore(tmp_path / "releases")


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in json.loads((_FOLDER / "answers.json").read_text()):
        yield entry["query"], entry["answer"]


def test_the_release_is_of_the_format_before(store: ReleaseStore) -> None:
    release = store.current("default")
    assert release is not None
    manifest = store.verify("default", release)
    assert all(isinstance(entry, FileEntry) for entry in manifest.files.values())
    final = store.path("default", release) / "final"
    stated = json.loads((final / SPEC_FILE).read_text())
    assert stated["format"] == 4 and "words in the title" in stated["features"]
    spec = FinalScore.open(final).spec
    assert spec.format == 5 and "title_bm25" in spec.features and len(spec.features) == len(stated["features"])


async def test_its_answers_are_those_of_the_version_that_made_it(store: ReleaseStore) -> None:
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5)
    async with run_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for query, expected in recorded():
            request = search_pb2.SearchRequest(query=query, top_k=len(expected["hits"]), explain=True)
            answer = await stub.Search(request, timeout=30)
            got = json_format.MessageToDict(answer, preserving_proto_field_name=True)
            # The lexical source runs beside the dense one: either of their stages may start first.
            stages, expected["stages"] = (sorted(one["stages"], key=lambda s: s["name"]) for one in (got, expected))
            assert_holds(expected | {"stages": expected["stages"]}, got | {"stages": stages}, query)


def assert_holds(expected: Any, got: Any, place: str) -> None:
    """The same values; of fields, an answer may have those that were added since."""
    if isinstance(expected, dict):
        assert got.keys() - _NOT_RECORDED == expected.keys(), place
        for name, value in expected.items():
            assert_holds(value, got[name], f"{place}.{name}")
    elif isinstance(expected, list):
        assert len(expected) == len(got), place
        for i, (one, other) in enumerate(zip(expected, got, strict=True)):
            assert_holds(one, other, f"{place}[{i}]")
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, abs=_CLOSE), place
    else:
        assert got == expected, place
