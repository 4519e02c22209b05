from pathlib import Path

import pytest
from doubles import make_release

from retrieval.release.loaded import LoadedRelease


@pytest.fixture
def release(tmp_path: Path) -> LoadedRelease:
    """Forty products, a ranker, no delays."""
    return make_release(tmp_path)
