"""Evaluating releases from their folders: which they are, that they are whole, and that they are let go of."""

from pathlib import Path

import doubles
import numpy as np
import pytest
from builders import damage, publish, write_columns
from doubles import make_release, rows_of

from core.errors import FeedError, ReleaseError
from core.manifest import Manifest
from core.progress import Silent
from core.releases import ReleaseStore
from lifecycle.quality import evaluate, evaluation
from lifecycle.quality.evaluation import (
    EvaluationRequest,
    ReleaseLocation,
    compare_releases,
    evaluate_release,
    find_release,
)
from retrieval.release.loaded import LoadedRelease


class ShopFiles:
    """Two releases of doubles, the second in service, and judgments."""

    def __init__(self, folder: Path) -> None:
        self.store = ReleaseStore(folder / "releases")
        self.opened: list[LoadedRelease] = []
        for number in range(2):
            columns = write_columns(folder / "columns", rows_of(doubles.COUNT, "p" if number else "q")).read_bytes()
            contents = {"products.arrow": columns}
            self.current = publish(self.store, folder / "scratch", contents, number).release_id
        self.judgments = folder / "judged.csv"
        self.judgments.write_text("query,product_id,grade,split\n3 mugs,p3,1,test\n3 mugs,p4,0,test\n")
        self._folder = folder

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        assert path == self.store.path("shop", manifest.release_id)
        self.opened.append(make_release(self._folder, manifest=manifest))
        return self.opened[-1]

    def evaluate(self, split: str = "test", rerank_depth: int = 32) -> evaluate.Evaluation:
        ask = EvaluationRequest(self.judgments, split, rerank_depth=rerank_depth)
        return evaluate_release(self.store, "shop", ask, Silent())[0]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShopFiles:
    shop = ShopFiles(tmp_path)
    monkeypatch.setattr(evaluation, "open_release", shop.open)
    monkeypatch.setattr(evaluate, "_embed", lambda _release, rows: np.array([[-row] for row in rows], np.float32))
    return shop


def test_the_release_in_service_is_measured_and_let_go(shop: ShopFiles) -> None:
    result = shop.evaluate(rerank_depth=0)
    assert (result.release_id, result.split) == (shop.current, "test")
    assert result.values["retrieval"]["MRR@10"] == {"3 mugs": 1.0}
    assert shop.opened[0].engine.closed  # type: ignore[attr-defined]


def test_the_depth_asked_for_is_the_one_measured(shop: ShopFiles) -> None:
    # The doubles' ranker prefers later products: of the first two retrieved, p3 and p4, it turns the order around.
    assert shop.evaluate(rerank_depth=2).values["reranked"]["MRR@10"] == {"3 mugs": 0.5}


def test_a_release_is_let_go_when_measuring_fails(shop: ShopFiles) -> None:
    with pytest.raises(FeedError, match="no query of split 'valid'"):
        shop.evaluate("valid")
    assert shop.opened[0].engine.closed  # type: ignore[attr-defined]


def test_a_damaged_release_is_not_measured(shop: ShopFiles) -> None:
    damage(shop.store.path("shop", shop.current) / "products.arrow")
    with pytest.raises(ReleaseError, match=r"products\.arrow differs"):
        shop.evaluate()
    assert shop.opened == []


class Pair(ShopFiles):
    """Two releases: A of products p0 to p39 without a ranker, B with one, of A's products or so many of them."""

    def __init__(self, folder: Path, products: int) -> None:
        self.store = ReleaseStore(folder / "releases")
        self.opened: list[LoadedRelease] = []
        for number, (name, count) in enumerate({"a": 40, "b": products}.items()):
            columns = write_columns(folder / "columns", rows_of(count)).read_bytes()
            model = {"encoder/m": name.encode()}
            publish(self.store, folder / "scratch", {"products.arrow": columns}, number, model)
        self.a, self.b = (
            ReleaseLocation(self.store, "shop", manifest.release_id) for manifest in self.store.manifests("shop")
        )
        self.judgments = folder / "judged.csv"
        queries = [f"{i} mug" for i in range(20)]
        lines = [f"{q},p{i + more},{grade},test" for i, q in enumerate(queries) for more, grade in ((0, 1), (1, 0))]
        self.judgments.write_text("\n".join(["query,product_id,grade,split", *lines, "9 cups,p3,1,valid", ""]))
        self.folder = folder

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        ranker = manifest.release_id == self.b.release
        products = len(self.b.columns()) if ranker else 40
        scratch = self.folder / manifest.release_id
        scratch.mkdir(exist_ok=True)
        self.opened.append(make_release(scratch, rows_of(products), ranker=ranker, manifest=manifest))
        return self.opened[-1]


def make_pair(folder: Path, monkeypatch: pytest.MonkeyPatch, products: int = 40) -> Pair:
    pair = Pair(folder, products)
    monkeypatch.setattr(evaluation, "open_release", pair.open)
    monkeypatch.setattr(evaluate, "_embed", lambda _release, rows: np.array([[-row] for row in rows], np.float32))
    return pair


def test_two_releases_are_measured_on_the_same_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, monkeypatch)
    result, slices = compare_releases(pair.a, pair.b, EvaluationRequest(pair.judgments, rerank_depth=2), Silent())
    assert result.same_catalog
    served = next(row.paired for row in result.measures if (row.name, row.measure) == ("served", "MRR@10"))
    # A leaves the good product first; B's ranker prefers the one after it, of the first two.
    assert (served.a, served.b, served.losses) == (1.0, 0.5, 20)
    assert result.a.trust is None and result.b.trust is not None and result.b.trust.chosen == "best F1 on valid"
    assert result.losses[0].first_a[0] == ("title 9", 1.0)
    assert slices["2-3 words"] == set(result.b.evaluation.grades)
    # Of the test split's products only p3, judged for 2 and 3, was seen.
    assert slices["products unseen in training"] == slices["2-3 words"] - {"2 mug", "3 mug"}
    assert all(release.engine.closed for release in pair.opened)  # type: ignore[attr-defined]


def test_the_valid_split_is_not_scored_for_a_cutoff_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(tmp_path, monkeypatch)
    monkeypatch.delattr(evaluation, "score_pools")
    result, _ = compare_releases(pair.a, pair.b, EvaluationRequest(pair.judgments, cutoff=0.25), Silent())
    assert result.b.trust is not None and (result.b.trust.cutoff, result.b.trust.chosen) == (0.25, "given")


def test_a_rankers_own_cutoff_is_taken_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, monkeypatch)
    monkeypatch.delattr(evaluation, "score_pools")
    monkeypatch.setattr(doubles.Ranker, "cutoff", 0.4)
    for given, expected in ((None, (0.4, "the ranker's own")), (0.25, (0.25, "given"))):
        result, _ = compare_releases(pair.a, pair.b, EvaluationRequest(pair.judgments, cutoff=given), Silent())
        assert result.b.trust is not None and (result.b.trust.cutoff, result.b.trust.chosen) == expected


def test_of_other_catalogs_only_products_of_both_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, monkeypatch, products=10)
    for a, b in ((pair.a, pair.b), (pair.b, pair.a)):
        result, _ = compare_releases(a, b, EvaluationRequest(pair.judgments), Silent())
        assert not result.same_catalog
        pools = [set().union(*side.evaluation.pools.values()) for side in (result.a, result.b)]
        assert pools == [{f"p{i}" for i in range(10)}] * 2


def test_a_release_is_found_by_id_folder_or_as_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, monkeypatch)
    assert find_release(pair.store, "shop", "current") == pair.b
    assert find_release(pair.store, "shop", pair.a.release) == pair.a
    elsewhere = find_release(ReleaseStore(tmp_path / "other"), "x", str(pair.store.path("shop", pair.a.release)))
    assert (elsewhere.store.root, elsewhere.catalog, elsewhere.release) == (pair.store.root, "shop", pair.a.release)
    with pytest.raises(ReleaseError, match="there is no release"):
        find_release(pair.store, "shop", "r-nothing")
    with pytest.raises(ReleaseError, match="RELEASES/catalogs/CATALOG/RELEASE"):
        find_release(pair.store, "shop", str(tmp_path / "folder"))


def test_a_release_is_not_compared_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, monkeypatch)
    with pytest.raises(ReleaseError, match=f"both are release {pair.a.release}"):
        compare_releases(pair.a, pair.a, EvaluationRequest(pair.judgments), Silent())
