"""Real models, exported once a session: the bundled towers and a cross-encoder with an untrained head."""

from pathlib import Path

import pytest

from encoder.train.export import export_encoder
from ranker.train.export import export_ranker


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "encoder"
    export_encoder(None, folder)
    return folder


@pytest.fixture(scope="session")
def ranker_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "ranker"
    export_ranker(None, folder)
    return folder
