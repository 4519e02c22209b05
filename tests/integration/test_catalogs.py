"""Releases made one after another: what is embedded again, made again, and brought back."""

import asyncio
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from shops import index, publish_damaged, write_feed

from catalog.table import ProductTable
from core.plan import Plan
from core.progress import Silent
from core.releases import ReleaseStore
from encoder.bi_encoder import SPEC_FILE
from indexer.models import ModelFolders
from lifecycle.rollback import rollback_models, rollback_release
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease, open_release
from retrieval.server.admission import Admission
from retrieval.wire.request import Query


def test_only_what_changed_is_embedded(store: ReleaseStore, models: ModelFolders, tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    same = index(feed, models, store)
    assert same.embedded is None and same.manifest.release_id == store.current("default")
    changed = index(write_feed(feed, "a-", changed=3), models, store)
    assert changed.embedded == 3
    back = index(write_feed(feed, "b-"), models, store)
    assert back.embedded == 0  # other ids, but the texts were all seen
    assert [manifest.snapshot.products for manifest in store.manifests("default")] == [30, 30, 30]


def test_a_version_with_other_columns_makes_the_release_again(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    with monkeypatch.context() as before:
        before.setattr("indexer.inputs.CATALOG_SCHEMA", pa.schema([("id", pa.string())]))
        old = index(feed, models, store)
    new = index(feed, models, store)
    assert new.embedded == 0 and new.manifest.release_id != old.manifest.release_id


def test_a_damaged_release_in_service_is_made_again(store: ReleaseStore, models: ModelFolders, tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    old = store.current("default")
    assert old is not None
    bad = publish_damaged(store, store.manifest("default", old))
    mended = index(feed, models, store)
    assert mended.embedded == 0 and mended.manifest.release_id not in (old, bad)
    assert store.verify("default", mended.manifest.release_id) == mended.manifest


def test_an_earlier_model_set_comes_back_without_its_old_products(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    old = store.manifests("default")[0]
    other = tmp_path / "encoder"
    shutil.copytree(models.encoder, other)
    spec = json.loads((other / SPEC_FILE).read_text())
    (other / SPEC_FILE).write_text(json.dumps(spec | {"max_item_tokens": spec["max_item_tokens"] - 1}))
    lineage = {"encoder": {"base": "another"}}
    new = index(write_feed(tmp_path / "b.jsonl", "b-", changed=2), ModelFolders(other, None, lineage), store)
    assert new.embedded == 30  # another model: everything
    assert new.manifest.model.model_id != old.model.model_id
    assert new.manifest.model.lineage == lineage
    back = rollback_models(store, "default", old.model.model_id, Silent())
    assert back.embedded == 2  # the old model had seen the rest
    assert back.manifest.model == old.model
    assert back.manifest.snapshot.catalog_id == new.manifest.snapshot.catalog_id
    assert store.current("default") == back.manifest.release_id
    columns = ProductTable(store.path("default", back.manifest.release_id) / "products.arrow")
    assert {product[:2] for product in columns.ids()} == {"b-"}
    store.verify("default", back.manifest.release_id)


def test_a_release_without_a_ranker_and_back(store: ReleaseStore, models: ModelFolders, tmp_path: Path) -> None:
    first = store.current("default")
    retrieval_only = index(write_feed(tmp_path / "a.jsonl", "a-"), ModelFolders(models.encoder, None), store)
    assert (retrieval_only.embedded, retrieval_only.manifest.model.ranker) == (0, None)
    release = open_release(
        store.path("default", retrieval_only.manifest.release_id),
        store.verify("default", retrieval_only.manifest.release_id),
    )
    answer = asyncio.run(answer_of(release, "red mug"))
    assert [stage.name for stage in answer.stages] == ["encode", "lexical", "retrieve", "fuse", "arrange"]
    for hit in answer.hits:
        fused = hit.stage_score("fuse")
        assert hit.stage_score("rescore") is None and fused is not None and hit.score == fused.score
    assert rollback_release(store, "default", first) == first == store.current("default")


async def answer_of(release: LoadedRelease, text: str) -> SearchResult:
    with Admission(1).enter() as permit, release.lease():
        return await search(Query(text), Plan(), release, permit, None)
