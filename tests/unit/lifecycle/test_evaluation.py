"""Evaluating the release in service: that it is the current one, whole, and let go of afterwards."""

from pathlib import Path

import numpy as np
import pytest
from builders import damage, publish
from doubles import make_release

from core.errors import FeedError, ReleaseError
from core.manifest import Manifest
from core.progress import Silent
from core.releases import ReleaseStore
from lifecycle import evaluate, evaluation
from lifecycle.evaluation import evaluate_release
from retrieval.loaded import LoadedRelease


class Shop:
    """Two releases of doubles, the second in service, and judgments."""

    def __init__(self, folder: Path) -> None:
        self.store = ReleaseStore(folder / "releases")
        self.opened: list[LoadedRelease] = []
        for number in range(2):
            contents = {"products.arrow": bytes([number])}
            self.current = publish(self.store, folder / "scratch", contents, number).release_id
        self.judgments = folder / "judged.csv"
        self.judgments.write_text("query,product_id,grade,split\n3 mugs,p3,1,test\n3 mugs,p4,0,test\n")
        self._folder = folder

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        assert path == self.store.path("shop", manifest.release_id)
        self.opened.append(make_release(self._folder, manifest=manifest))
        return self.opened[-1]

    def evaluate(self, split: str = "test", rerank_depth: int = 32) -> evaluate.Evaluation:
        return evaluate_release(self.store, "shop", self.judgments, split, None, rerank_depth, Silent())


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop(tmp_path)
    monkeypatch.setattr(evaluation, "open_release", shop.open)
    monkeypatch.setattr(evaluate, "_embed", lambda _release, rows: np.array([[-row] for row in rows], np.float32))
    return shop


def test_the_release_in_service_is_measured_and_let_go(shop: Shop) -> None:
    result = shop.evaluate(rerank_depth=0)
    assert (result.release_id, result.split) == (shop.current, "test")
    assert result.values["retrieval"]["MRR@10"] == {"3 mugs": 1.0}
    assert shop.opened[0].engine.closed  # type: ignore[attr-defined]


def test_the_depth_asked_for_is_the_one_measured(shop: Shop) -> None:
    # The doubles' ranker prefers later products: of the first two retrieved, p3 and p4, it turns the order around.
    assert shop.evaluate(rerank_depth=2).values["reranked"]["MRR@10"] == {"3 mugs": 0.5}


def test_a_release_is_let_go_when_measuring_fails(shop: Shop) -> None:
    with pytest.raises(FeedError, match="no query of split 'valid'"):
        shop.evaluate("valid")
    assert shop.opened[0].engine.closed  # type: ignore[attr-defined]


def test_a_damaged_release_is_not_measured(shop: Shop) -> None:
    damage(shop.store.path("shop", shop.current) / "products.arrow")
    with pytest.raises(ReleaseError, match=r"products\.arrow differs"):
        shop.evaluate()
    assert shop.opened == []
