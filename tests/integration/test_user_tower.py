"""A user tower, trained in torch on a planted habit and served by ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelError
from encoder.train.user_export import example_histories, export_user_tower
from encoder.train.user_fit import FittedTower, UserFit, UserSequences, fit_user_tower
from encoder.users.tower import SPEC_FILE, History, UserTower
from training.loop import torch_threads

PRODUCTS, DIMENSIONS, MOST = 40, 16, 8


def sequences(users: int = 200, seed: int = 0) -> UserSequences:
    """Whoever bought product i buys i + 1 next: what the history's mean cannot say."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(PRODUCTS, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = random.integers(2, 7, users)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    first = np.repeat(random.integers(0, PRODUCTS, users), lengths)
    step = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    return UserSequences(vectors, (first + step) % PRODUCTS, step.astype(float), np.full(len(step), 3, np.int8), starts)


@pytest.fixture(scope="module")
def fitted() -> FittedTower:
    knobs = {"width": 32, "layers": 1, "heads": 2, "dropout": 0.0, "most_history": MOST, "epochs": 60, "steps": 160}
    fit = UserFit(**knobs, batch_size=64, negatives=40, learning_rate=3e-3, seed=0)  # type: ignore[arg-type]
    with torch_threads(1):
        return fit_user_tower(sequences(), fit)


@pytest.fixture(scope="module")
def folder(fitted: FittedTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = sequences()
    histories = example_histories(shop.vectors, shop.histories(shop.examples()[:100], MOST))
    output = tmp_path_factory.mktemp("tower")
    parity = export_user_tower(fitted.model, histories, "digest", MOST, fitted.report, output)
    assert parity["cosine_mean"] > 0.995 and parity["histories"] == 50
    return output


def test_examples_and_histories_by_hand() -> None:
    item, starts = np.array([5, 6, 7, 9]), np.array([0, 3, 4])
    shop = UserSequences(np.eye(10, dtype=np.float32), item, np.array([0.0, 1, 4, 0]), np.array([1, 2, 3, 3]), starts)
    assert shop.examples().tolist() == [1, 2]
    histories = shop.histories(np.array([1, 2]), 2)
    assert histories["items"].tolist() == [[5, -1], [6, 5]] and histories["ages"].tolist() == [[1, 0], [3, 4]]
    assert histories["actions"].tolist() == [[1, 0], [2, 1]] and histories["mask"].tolist() == [[1, 0], [1, 1]]


def test_it_learns_what_the_mean_of_a_history_cannot(fitted: FittedTower) -> None:
    assert fitted.gains and fitted.report["recall@4"] > 0.6 > fitted.report["recall@4 of the mean"]


def test_served_vectors_find_the_next_product_and_depend_on_nothing_beside_them(folder: Path) -> None:
    tower, vectors = UserTower.open(folder), sequences().vectors
    ages = np.array([1, 2, 3], np.float32)
    chains = [[place, place - 1, place - 2] for place in range(2, 30)]
    histories = [History(vectors[chain], ages) for chain in chains]
    together = tower.vectors([*histories, History(vectors[:1], ages[:1]), History(vectors[:0], ages[:0])])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    ranks = (-(together[: len(chains)] @ vectors.T)).argsort(1).argsort(1)
    assert np.mean([ranks[at, chain[0] + 1] < 4 for at, chain in enumerate(chains)]) > 0.6
    alone = np.concatenate([tower.vectors([history]) for history in histories])
    np.testing.assert_allclose(together[: len(chains)], alone, atol=1e-6)
    shuffled = [History(history.items[::-1], history.age_days[::-1]) for history in histories]
    np.testing.assert_allclose(tower.vectors(shuffled), alone, atol=1e-6)  # the latest first, in whatever order it came


def test_the_latest_products_are_read(folder: Path) -> None:
    tower, vectors = UserTower.open(folder), sequences().vectors
    long = History(vectors[:20], np.arange(20, dtype=np.float32))
    np.testing.assert_array_equal(tower.vectors([long]), tower.vectors([History(*(part[:MOST] for part in long[:2]))]))


def test_what_is_no_tower_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=SPEC_FILE):
        UserTower.open(tmp_path)
    (tmp_path / SPEC_FILE).write_text((folder / SPEC_FILE).read_text())
    with pytest.raises(ModelError, match=r"has no model\.onnx"):
        UserTower.open(tmp_path)
