"""Mining by the real models: towers and teacher score a pair alike whatever its company, and both sources are heard."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ModelError
from core.progress import Silent
from lifecycle.examples.mining import Mining
from lifecycle.examples.products import Products
from lifecycle.training import scoring as similarity
from lifecycle.training.negatives import mine_negatives
from lifecycle.training.scoring import Teacher, TowerSimilarity
from training.examples import JudgedQueries

THINGS = ("mug", "kettle", "hammer", "drill", "sandals", "duvet", "lamp", "spade")
TITLES = [f"{colour} {thing}" for thing in THINGS for colour in ("Red", "Blue", "Green")]
PRODUCTS = Products([f"p{i}" for i in range(len(TITLES))], TITLES, TITLES, [None] * len(TITLES))
JUDGED = JudgedQueries("train", {"red mug": {"p0": 1.0, "p1": 0.0}, "blue drill": {"p10": 1.0}})
SETTINGS = Mining(first=1, last=10, negatives=3, seed=1)


def test_a_round_mines_from_both_sources(encoder_dir: Path, ranker_dir: Path) -> None:
    result = mine_negatives(JUDGED, PRODUCTS, TowerSimilarity(encoder_dir), SETTINGS, Silent())
    assert set(result.table["source"].to_pylist()) == {"bm25", "towers"}
    assert set(result.table["query"].to_pylist()) == set(JUDGED.queries)
    assert not {"p0", "p10"} & set(result.table["product_id"].to_pylist())
    assert set(result.held_off) == {"judged", "twin", "similar"}
    taught = mine_negatives(JUDGED, PRODUCTS, TowerSimilarity(encoder_dir), SETTINGS, Silent(), ranker_dir)
    assert set(taught.held_off) == {"judged", "twin", "similar", "teacher"}


def test_the_teacher_scores_a_pair_alike_in_any_company(encoder_dir: Path, ranker_dir: Path) -> None:
    queries = list(JUDGED.queries)
    score = Teacher(ranker_dir).pair_scores(queries, TITLES, lambda places, rows: np.zeros(len(rows), np.float32))
    places, rows = np.array([1, 0, 0, 1]), np.array([10, 0, 23, 10])
    together = score(places, rows)
    alone = [score(places[i : i + 1], rows[i : i + 1])[0] for i in range(4)]
    assert together == pytest.approx(np.array(alone), abs=1e-3)
    assert together[0] == together[3]
    assert ((together > 0) & (together < 1)).all()
    assert score(places[:0], rows[:0]).shape == (0,)


def test_similarity_pair_by_pair_is_that_of_the_vectors(encoder_dir: Path) -> None:
    towers = TowerSimilarity(encoder_dir)
    vectors = towers.queries(["red mug"]) @ towers.items(["Red mug", "Blue lamp"]).T
    assert towers(["red mug", "red mug"], ["Red mug", "Blue lamp"]) == pytest.approx(vectors[0], abs=1e-3)


def test_no_product_text_is_embedded_twice(encoder_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[int] = []
    whole = similarity.embed_all

    def counted(model: Any, tokens: Any, report: Any) -> Any:
        embedded.append(len(tokens))
        return whole(model, tokens, report)

    monkeypatch.setattr(similarity, "embed_all", counted)
    towers = TowerSimilarity(encoder_dir)
    first = towers.items(["Red mug", "Blue lamp", "Red mug"])
    again = towers.items(["Blue lamp", "Green spade", "Red mug"])
    assert embedded == [2, 1]
    assert np.array_equal(first[[0, 1]], first[[2, 1]]) and np.array_equal(again[[0, 2]], first[[1, 0]])


def test_a_folder_without_towers_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        TowerSimilarity(tmp_path)
