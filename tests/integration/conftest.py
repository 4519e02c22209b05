"""Real models, exported once a session: the bundled towers and an untrained cross-encoder; a release; and servers."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_servers import redis_server
from shops import ROOT, index, write_feed

from core.errors import TandemError
from core.releases import ReleaseStore
from encoder.bundled import export_bundled
from indexer.models import ModelFolders
from lifecycle.triton_server import FOLDER, install
from ranker.train.export import export_ranker


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "encoder"
    export_bundled(folder)
    return folder


@pytest.fixture(scope="session")
def ranker_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "ranker"
    export_ranker(None, folder)
    return folder


@pytest.fixture(scope="session")
def models(encoder_dir: Path, ranker_dir: Path) -> ModelFolders:
    return ModelFolders(encoder_dir, ranker_dir)


@pytest.fixture(scope="session")
def indexed(models: ModelFolders, tmp_path_factory: pytest.TempPathFactory) -> ReleaseStore:
    """One release of products a-0 to a-29. Not to be changed: take `store` for that."""
    folder = tmp_path_factory.mktemp("indexed")
    store = ReleaseStore(folder / "releases")
    index(write_feed(folder / "a.jsonl", "a-"), models, store)
    return store


@pytest.fixture
def store(indexed: ReleaseStore, tmp_path: Path) -> ReleaseStore:
    """A copy to publish into."""
    shutil.copytree(indexed.root, tmp_path / "releases")
    return ReleaseStore(tmp_path / "releases")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server that makes every write durable. Tests share it: use keys of your own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as (port, _):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def triton_folder() -> Path:
    """Where Triton is installed; the test is skipped where it cannot be."""
    folder = ROOT / FOLDER
    try:
        install(folder)
    except TandemError as error:
        pytest.skip(str(error))
    return folder
