"""Typed columns from a feed to a release that is served, and what becomes of filters that it cannot apply."""

import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest
from shops import write_rows

from core.filter_text import parse_filter
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.cleaning.mapping import load_mapping
from indexer.inputs import IndexOptions
from indexer.job import apply_models, index_feed
from indexer.models import ModelFolders
from retrieval.release.loaded import open_release
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from retrieval.wire.filters import filter_message
from tandem.v1 import search_pb2, search_pb2_grpc

_PREVIOUS = Path(__file__).resolve().parents[1] / "data" / "previous_release"
_MAPPING = """
[catalog]
name = "default"
currency = "EUR"
[fields]
id = "id"
title = "title"
price = "price"
product_type = "type"
[attributes]
include = ["voltage", "code"]
[types]
"attributes.code" = "string"
"""


def test_a_feed_is_filtered_by_what_was_inferred_and_declared(models: ModelFolders, tmp_path: Path) -> None:
    rows = [
        {"id": f"p{i}", "title": f"drill {i}", "price": f"{i}.50 EUR", "type": "Tools > Drills", "code": str(100 + i)}
        | ({"voltage": f"{12 + 6 * (i % 2)} V"} if i else {"type": "Garden"})
        for i in range(6)
    ]
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(_MAPPING)
    store = ReleaseStore(tmp_path / "releases")
    feed = write_rows(tmp_path / "feed.jsonl", rows)
    made = index_feed(feed, load_mapping(mapping), models, IndexOptions(), store, Silent())
    other = ModelFolders(models.encoder, None)
    again = apply_models("default", other, IndexOptions(), store, Silent())
    for manifest in (made.manifest, again.manifest):
        report = manifest.snapshot.columns
        assert report is not None and report.fields["attributes.code"].declared
        assert (report.fields["attributes.voltage"].kind, report.fields["attributes.voltage"].unit) == ("number", "v")
        folder = store.path("default", manifest.release_id)
        view = open_release(folder, store.verify("default", manifest.release_id)).view

        def passing(text: str, view=view) -> list[int]:  # type: ignore[no-untyped-def]
            mask = view.mask(parse_filter(text))
            assert mask is not None
            return np.flatnonzero(mask).tolist()

        assert passing("price < 3 AND attributes.voltage = 18") == [1]
        assert passing('product_type = "Tools"') == [1, 2, 3, 4, 5]
        assert passing('attributes.code IN ("103", "105") OR -attributes.voltage:*') == [0, 3, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brnad = x", "filter.equal.field: 'brnad' is no field of this catalog; did you mean 'brand'?"),
        ("price = cheap", "filter.equal.value: 'price' holds amounts of money; send a number"),
    ],
)
async def test_a_filter_that_the_release_cannot_apply_is_refused(store: ReleaseStore, text: str, message: str) -> None:
    assert await refusal(store, text) == message


async def test_a_release_of_before_is_served_and_refuses_filters(tmp_path: Path) -> None:
    shutil.copytree(_PREVIOUS, tmp_path / "releases")
    assert await refusal(ReleaseStore(tmp_path / "releases"), "price < 5") == (
        "filter: this release has no typed columns; index the catalog again with `tandem index`"
    )


async def refusal(store: ReleaseStore, text: str) -> str:
    """The message of INVALID_ARGUMENT; the service goes on to answer."""
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5)
    async with run_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Search(search_pb2.SearchRequest(query="x", filter=filter_message(parse_filter(text))))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await stub.Search(search_pb2.SearchRequest(query="red kettle"), timeout=30)).hits
    return str(error.value.details())
