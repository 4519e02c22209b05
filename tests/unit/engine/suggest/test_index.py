from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suggestions import suggestion_index

from core.errors import ReleaseError
from engine.suggest.files import BLOCK, FILES
from engine.suggest.index import SuggestionIndex, _largest


def texts(index: SuggestionIndex, start: str, count: int = 10) -> list[str]:
    return [index.entry(number).text for number, _ in index.best(index.beginning(start), count)]


def test_what_begins_so_comes_before_what_has_a_word_that_does(tmp_path: Path) -> None:
    index = suggestion_index(tmp_path, {"Chair": 5, "office chair": 5500, "chair mat": 6, "table": 9})
    assert texts(index, "cha") == ["chair mat", "office chair", "Chair"]  # 6, 5.5 and 5
    assert texts(index, "chair m") == ["chair mat"] and texts(index, "mat") == ["chair mat"]
    assert texts(index, "air") == [] and len(index) == 4


def test_a_suggestion_comes_once_and_equal_ones_in_the_order_of_their_letters(tmp_path: Path) -> None:
    index = suggestion_index(tmp_path, {"tea for tea": 3, "teapot": 2, "team": 2, "tea": 2})
    assert texts(index, "tea") == ["tea for tea", "tea", "team", "teapot"]
    assert texts(index, "tea", 2) == ["tea for tea", "tea"]


def test_the_best_of_many_rows_are_those_of_a_full_sort(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    weights = {f"word{number:05d}": float(random.integers(1, 50)) for number in range(6 * BLOCK + 17)}
    index = suggestion_index(tmp_path, weights)
    for start, count in (("word", 20), ("word00", 7), ("word01", 300), ("word", 3000), ("word00123", 5)):
        expected = sorted((name for name in weights if name.startswith(start)), key=lambda name: (-weights[name], name))
        assert texts(index, start, count) == expected[:count]
    assert index.support(index.rows) == pytest.approx(sum(weights.values()))


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 45))
@settings(max_examples=60, deadline=None)
def test_the_largest_are_those_of_a_sort(values: list[int], count: int) -> None:
    expected = sorted(range(len(values)), key=lambda place: (-values[place], place))[:count]
    assert _largest(np.array(values, np.float32), count).tolist() == expected


@pytest.mark.parametrize(
    ("typed", "whole", "meant"),
    [
        ("kitchn", False, "kitche"),  # one letter missing: what is typed may go on
        ("kicth", False, "kitch"),
        ("ktchen", True, "kitchen"),
        ("fuacet", True, "faucet"),
        ("refrigeratr", True, "refrigerator"),
        ("refridgeratr", True, "refrigerator"),  # two errors in a long word
        ("refrigreat", False, "refrigerat"),
    ],
)
def test_letters_typed_wrong_find_what_was_meant(tmp_path: Path, typed: str, whole: bool, meant: str) -> None:
    index = suggestion_index(tmp_path, {"kitchen faucet": 9, "white refrigerator": 4, "kettle": 2})
    assert meant in [one.letters for one in index.alike(typed, whole)]


@pytest.mark.parametrize(
    "typed", ["ki", "12v", "m18", "\u53a8\u623f\u5730", "\u05d0\u05d1\u05d2\u05d3", "x" * 40, "qqqq"]
)
def test_short_words_numbers_and_signs_are_meant_as_they_stand(tmp_path: Path, typed: str) -> None:
    weights = {"kit 12w m19": 9.0, "\u53a8\u623f\u6c34": 3.0, "\u05d0\u05d1\u05d2\u05d4": 2.0, "x" * 39: 2.0}
    index = suggestion_index(tmp_path, weights)
    assert index.alike(typed, True) == index.alike(typed, False) == []


def test_files_that_are_missing_or_do_not_fit_are_one_line(tmp_path: Path) -> None:
    suggestion_index(tmp_path / "a", {"chair": 5})
    suggestion_index(tmp_path / "b", {"chair": 5, "table": 3})
    for name in FILES:
        folder = tmp_path / "a"
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(ReleaseError, match="run `tandem index` again") as error:
            SuggestionIndex(folder)
        assert "\n" not in str(error.value)
        (folder / name).write_bytes(kept)
    (tmp_path / "a" / "counts.npy").write_bytes((tmp_path / "b" / "counts.npy").read_bytes())
    with pytest.raises(ReleaseError, match="do not fit together"):
        SuggestionIndex(tmp_path / "a")
