from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from recommending import ROWS, SPEC, write

from core.errors import ModelError
from retrieval.recommend.behaviour import PRODUCTS_FILE, SPEC_FILE, Behaviour, BehaviourSpec


@pytest.fixture
def behaviour(tmp_path: Path) -> Behaviour:
    return Behaviour.open(write(tmp_path / "users"))


def test_products_are_looked_up_by_their_ids_a_few_at_a_time_or_all_at_once(behaviour: Behaviour) -> None:
    ids = ["pot", "nothing", "éclair", "", "cup", "zebra"]
    assert behaviour.places(ids).tolist() == [2, -1, 3, -1, 0, -1]
    assert behaviour.places(pa.array(ids)).tolist() == [2, -1, 3, -1, 0, -1]
    assert behaviour.places(ids * 50).tolist() == [2, -1, 3, -1, 0, -1] * 50
    assert behaviour.ids(np.array([3, 0])) == ["éclair", "cup"]
    assert behaviour.places([]).tolist() == []


def test_columns_are_those_that_were_write(behaviour: Behaviour) -> None:
    assert behaviour.popularity.tolist() == [3.0, 1.0, 2.0, 0.5] and behaviour.sold.tolist() == [4, 1, 2, 1]
    assert behaviour.last.tolist() == [900, 800, 700, 600] and np.isnan(behaviour.price[1])
    assert len(behaviour) == 4


def test_neighbours_of_several_products_add_up(behaviour: Behaviour) -> None:
    pan, pot = 1, 2
    related = behaviour.related("together", np.array([0, 1, -1]), np.array([1.0, 0.5, 9.0], np.float32))
    # The cup's are the pan (0.5) and the pot (0.25); the pan's is the cup (0.5, at half strength 0.25).
    assert related.places.tolist() == [pan, 0, pot] and related.weights.tolist() == [0.5, 0.25, 0.25]
    assert behaviour.related("followed", np.array([0]), np.ones(1, np.float32)).places.tolist() == [pot]
    assert behaviour.related("followed", np.array([3, -1]), np.ones(2, np.float32)).places.tolist() == []
    nothing = behaviour.related("together", np.empty(0, np.int64), np.empty(0, np.float32))
    assert nothing.places.tolist() == [] and nothing.weights.tolist() == []


def test_a_product_is_bought_again_by_its_age_and_its_own_rate(behaviour: Behaviour) -> None:
    places = np.array([0, 0, 0, 0, 1, 3, -1])
    ages = np.array([0.5, 1, 1.5, 400, 7, 0, 0], np.float32)
    # Of the cup twice the rates of its age, of the éclair nine times, and no more than 1.
    np.testing.assert_allclose(behaviour.again(places, ages), [0.4, 0.4, 0.2, 0.1, 0.1, 1.0, 0.0], rtol=1e-6)


def test_popular_products_of_a_segment_or_a_channel_fall_back_on_those_of_all(behaviour: Behaviour) -> None:
    assert behaviour.popular().places.tolist() == [0, 2, 1, 3]
    assert behaviour.popular("age=young", "web").places.tolist() == [2]
    assert behaviour.popular("age=young", "shop").places.tolist() == [3]
    assert behaviour.popular("old", "shop").weights.tolist() == [3.0, 2.0, 1.0, 0.5]


def test_what_is_known_of_a_user_names_a_list(behaviour: Behaviour) -> None:
    assert behaviour.list_names({"age": "young", "channel": "web", "club": "gold"}) == ("age=young", "web")
    assert behaviour.list_names({"age": "old", "club": "gold"}) == ("", "")


def test_the_digest_is_that_of_all_files(tmp_path: Path) -> None:
    one = Behaviour.open(write(tmp_path / "one"))
    assert one.digest == Behaviour.open(write(tmp_path / "two")).digest
    (tmp_path / "two" / "tower").mkdir()
    (tmp_path / "two" / "tower" / "weights").write_text("1")
    two = Behaviour.open(tmp_path / "two")
    assert [path.name for path in two.files()] == [SPEC_FILE, PRODUCTS_FILE, "popular.arrow", "weights"]
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("rows", "popular"),
    [
        ([ROWS[1], ROWS[0]], [("", "", [0], [1.0])]),  # not sorted
        ([ROWS[0]], [("", "", [0], [1.0])]),  # neighbours that are not there
        (ROWS, [("", "web", [0], [1.0])]),  # nothing popular with all
        (ROWS, [("", "", [4], [1.0])]),
        (ROWS, [("", "", [-1], [1.0])]),
        ([], [("", "", [], [])]),
    ],
)
def test_files_that_do_not_agree_are_refused_in_one_line(tmp_path: Path, rows: list, popular: list) -> None:
    with pytest.raises(ModelError, match=r"run `tandem train users`$"):
        Behaviour.open(write(tmp_path, rows, popular))


def test_what_is_no_behaviour_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no behaviour\.json"):
        Behaviour.open(tmp_path / "nowhere")
    folder = write(tmp_path / "users")
    (folder / PRODUCTS_FILE).write_bytes(b"ARROW1 cut short")
    with pytest.raises(ModelError, match=r"products\.arrow is not what .*; run `tandem train users`"):
        Behaviour.open(folder)
    (folder / SPEC_FILE).write_text('{"format": 2}')
    with pytest.raises(ModelError, match=r"the behaviour has format 2, and this version reads 1: upgrade Tandem"):
        Behaviour.open(folder)
    (folder / SPEC_FILE).write_text('{"format": 1}')
    with pytest.raises(ModelError, match="time: Field required"):
        Behaviour.open(folder)


def test_rates_need_an_age_each() -> None:
    with pytest.raises(ValueError, match="again_days and again_rates"):
        BehaviourSpec(**SPEC.model_dump() | {"again_days": (1.0,)})
