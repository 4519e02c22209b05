"""A release with half-precision weights, served by the GPU's engine on every device there is.

On a processor the GPU's runners stand on it; what chooses, packs, searches and refuses is the same.
"""

import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import DEVICES
from shops import index, write_feed

from catalog.table import ProductTable
from core.errors import ModelError
from core.progress import Silent, ignore
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.embedded import EmbeddedEngine
from engine.gpu.index import exact_index
from engine.gpu.packed import PackedModel
from indexer.cleaning.mapping import FeedMapping
from indexer.embed import embed_products
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from lifecycle.halves import add_halves
from lifecycle.models import resolve_models
from retrieval.release import engines
from retrieval.release.loaded import LoadedRelease, open_release
from retrieval.server.settings import ServeSettings

QUERIES = ["red kettle", "hiking boots", "garden hose", "drill"]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The GPU's engine is opened on it, whatever it is."""
    monkeypatch.setattr(engines, "chosen_device", lambda given: "cpu" if given == "cpu" else "cuda")
    if request.param == "cpu":
        monkeypatch.setattr(PackedModel, "open", partial(PackedModel.open, device="cpu"))
        monkeypatch.setattr("engine.gpu.index.copy_to_gpus", lambda given, *_: exact_index(given, ["cpu"]))
    return request.param


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory, models: ModelFolders) -> tuple[ReleaseStore, ModelFolders]:
    """A release of the same models with half-precision weights."""
    folder = tmp_path_factory.mktemp("halved")
    store = ReleaseStore(folder / "releases")
    exported = store.root / "exported"
    assert models.ranker is not None
    given = ModelFolders(exported / "encoder", exported / "ranker")
    shutil.copytree(models.encoder, given.encoder)
    shutil.copytree(models.ranker, exported / "ranker")
    add_halves(given, None, None, store)
    index(write_feed(folder / "a.jsonl", "a-"), given, store)
    return store, given


def opened(store: ReleaseStore, settings: ServeSettings) -> LoadedRelease:
    name = store.current("default")
    assert name is not None
    manifest = store.verify("default", name)
    return open_release(store.path("default", name), manifest, engines.engine_maker(settings))


@pytest.fixture
async def served(halved: tuple[ReleaseStore, ModelFolders], device: str) -> AsyncIterator[LoadedRelease]:
    release = opened(halved[0], ServeSettings(device="cuda"))
    yield release
    release.engine.close()


async def test_it_answers_as_processors_do(served: LoadedRelease, halved: tuple[ReleaseStore, ModelFolders]) -> None:
    plain = opened(halved[0], ServeSettings(device="cpu"))
    for text in QUERIES:
        tokens = served.tower.tokenize_queries([text])
        vectors = [await release.engine.encode(tokens, None) for release in (served, plain)]
        assert float((vectors[0] * vectors[1]).sum()) > 0.985  # int8 against half precision
        [result] = await served.engine.retrieve(vectors[0], 30, None)
        exact = await plain.engine.score_rows(vectors[0][0], result.rows, None)
        np.testing.assert_allclose(result.scores, exact, atol=2e-3)
        assert sorted(result.rows.tolist()) == list(range(30)) and (np.diff(result.scores) <= 1e-6).all()
        pairs = served.pack(text, result.rows[:12])
        logits = [await release.engine.rescore(pairs, None) for release in (served, plain)]
        assert np.corrcoef(*logits)[0, 1] > 0.97
    plain.engine.close()


async def test_it_warms_and_works_in_one_thread(served: LoadedRelease) -> None:
    await served.warm()
    assert served.rerank_cost.affordable([10] * 12, 10.0) == 12
    assert isinstance(served.engine, EmbeddedEngine) and served.engine._lanes._pool._max_workers == 1


def test_a_release_without_weights_for_it_runs_on_processors_or_is_refused(
    indexed: ReleaseStore, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ModelError, match=r"has no model\.half\.safetensors.*--precision fp16"):
        opened(indexed, ServeSettings(device="cuda"))
    release = opened(indexed, ServeSettings(device="auto"))
    assert "runs on processors" in caplog.text and isinstance(release.engine, EmbeddedEngine)
    release.engine.close()


def test_products_are_embedded_there_and_kept_apart(
    halved: tuple[ReleaseStore, ModelFolders], device: str, tmp_path: Path
) -> None:
    store, models = halved
    current = store.current("default")
    assert current is not None
    columns, tower = ProductTable(store.path("default", current) / "products.arrow"), BiEncoder.open(models.encoder)
    exact, many = embed_products(columns, tower, tmp_path, ignore)
    exact = np.array(exact)
    result, again = embed_products(columns, tower, tmp_path, ignore, "cuda")
    assert many == again == 30  # those of the other precision were not taken for these
    assert ((exact.astype(np.float32) * result).sum(axis=1) > 0.985).all()
    assert embed_products(columns, tower, tmp_path, ignore, "cuda")[1] == 0


def test_weights_are_part_of_the_release_and_of_what_it_was_made_from(
    halved: tuple[ReleaseStore, ModelFolders], models: ModelFolders, tmp_path: Path
) -> None:
    store, _ = halved
    current = store.current("default")
    assert current is not None
    manifest = store.manifest("default", current)
    assert {"encoder/model.half.safetensors", "ranker/model.half.safetensors"} <= set(manifest.model.files)
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    copy = ReleaseStore(tmp_path / "releases")
    plain = index(feed, models, copy).manifest
    assert BiEncoder.open(models.encoder).digest == BiEncoder.open(halved[1].encoder).digest
    with_weights = index_feed(feed, FeedMapping(), halved[1], IndexOptions(), copy, Silent())
    assert with_weights.embedded == 0 and with_weights.manifest.release_id != plain.release_id
    # They stay with the models in service.
    kept = resolve_models(None, None, copy, "default")
    assert index(feed, kept, copy).manifest.release_id == with_weights.manifest.release_id
    add_halves(kept, None, None, copy)  # nothing to do


def test_models_whose_original_weights_are_gone_are_told(models: ModelFolders, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no checkpoint to make half-precision weights of"):
        add_halves(models, None, None, ReleaseStore(tmp_path))


def test_a_trained_folder_gets_them_of_its_checkpoint(
    models: ModelFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models.ranker is not None
    for name in ("encoder", "ranker"):
        shutil.copytree(getattr(models, name), tmp_path / name)
        (tmp_path / name / "checkpoint").mkdir()
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("encoder.train.half.add_half", lambda *given: asked.append(given))
    monkeypatch.setattr("ranker.train.half.add_half", lambda *given: asked.append(given))
    add_halves(
        ModelFolders(tmp_path / "encoder", tmp_path / "ranker"), "else", None, ReleaseStore(tmp_path / "releases")
    )
    assert asked == [(str(tmp_path / name), tmp_path / name) for name in ("encoder", "ranker")]
