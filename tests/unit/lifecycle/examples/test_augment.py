import numpy as np
import pyarrow as pa
import pytest

from core.strings import query_key
from evaluation.judgments import JUDGMENTS_SCHEMA
from lifecycle.examples import augment as module
from lifecycle.examples.augment import Augmentation, augment, clean_judgments, held_out_keys

TYPING = Augmentation(typing=1, dropped=0, reordered=0)
DROPPED = Augmentation(typing=0, dropped=1, reordered=0)
REORDERED = Augmentation(typing=0, dropped=0, reordered=1)
NEVER = Augmentation(typing=0, dropped=0, reordered=0)


def judgments(*rows: tuple[str, str, float, str]) -> pa.Table:
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


def test_queries_alike_become_one_and_the_last_grade_counts() -> None:
    table = judgments(
        ("Fence  mesh", "1", 1.0, "train"),
        ("fence mesh ", "1", 3.0, "train"),
        ("FENCE MESH", "2", 2.0, "train"),
        ("gate", "1", 2.0, "valid"),
    )
    cleaned = clean_judgments(table)
    assert cleaned.schema == JUDGMENTS_SCHEMA
    assert (
        cleaned.to_pylist()
        == judgments(
            ("Fence mesh", "1", 3.0, "train"), ("Fence mesh", "2", 2.0, "train"), ("gate", "1", 2.0, "valid")
        ).to_pylist()
    )


def test_clean_judgments_stay_as_they_are() -> None:
    table = judgments(("a", "1", 1.0, "train"), ("b", "2", 2.0, "test"))
    assert clean_judgments(table).equals(table)


def test_what_is_held_out_is_valid_and_test() -> None:
    table = judgments(("Red hat", "1", 1, "train"), ("Blue  Hat", "1", 1, "valid"), ("cap", "1", 1, "test"))
    assert held_out_keys(table) == {"blue hat", "cap"}


def test_nothing_varies_without_a_chance_to() -> None:
    assert augment(["red hat  for men", ""], NEVER) == ["red hat for men", ""]


@pytest.mark.parametrize(
    ("error", "possible"),
    [
        ("_swap", {"mgu", "mug"}),
        ("_omit", {"mg", "mu"}),
        ("_double", {"muug", "mugg"}),
        ("_slip", {f"m{key}g" for key in "yihj"} | {f"mu{key}" for key in "fhtyvb"}),
    ],
)
def test_each_error_by_hand(error: str, possible: set[str]) -> None:
    random = np.random.default_rng(0)
    seen = {getattr(module, error)("mug", random) for _ in range(300)}
    assert seen == possible - ({"mug"} if error == "_swap" else set())


def test_a_slip_keeps_case_and_letters_of_no_key_are_swapped() -> None:
    random = np.random.default_rng(0)
    assert {module._slip("aQ", random) for _ in range(50)} == {"aW", "aA"}
    assert {module._slip("дом", random) for _ in range(50)} == {"дмо"}


@pytest.mark.parametrize("query", ["mug", "dcd771c2", "3/4 in", "16 inch", "wi-fi", "電気ケトル", "1080p 55in", ""])
def test_short_words_numbers_units_models_and_other_scripts_are_typed_right(query: str) -> None:
    for seed in range(20):
        varied = augment([query], TYPING.model_copy(update={"seed": seed}))[0]
        assert varied == query or query == "16 inch"


def test_a_word_is_dropped_of_three_or_more_and_no_unit() -> None:
    assert augment(["red hat"], DROPPED) == ["red hat"]
    seen = {augment(["3/4 in pipe cutter"], DROPPED.model_copy(update={"seed": seed}))[0] for seed in range(30)}
    assert seen == {"3/4 in pipe", "3/4 in cutter"}


def test_neighbours_change_places_and_units_stay_by_their_number() -> None:
    assert augment(["red hat"], REORDERED) == ["hat red"]
    assert augment(["3/4 in pipe cutter"], REORDERED) == ["3/4 in cutter pipe"]
    assert augment(["2 in pipe"], REORDERED) == ["2 in pipe"]


def test_no_variant_repeats_a_query_to_test_on() -> None:
    assert augment(["red hat"], REORDERED, {query_key("Hat Red")}) == ["red hat"]


def test_seeds_differ() -> None:
    queries = ["pressure washer hose"] * 20
    assert augment(queries, TYPING) == augment(queries, TYPING)
    assert augment(queries, TYPING) != augment(queries, TYPING.model_copy(update={"seed": 1}))
