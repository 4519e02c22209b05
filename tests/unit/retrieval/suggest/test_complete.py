from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suggestions import suggestion_index

from engine.suggest.index import SuggestionIndex
from retrieval.suggest.complete import complete
from retrieval.suggest.suggester import Suggester
from text.completion import prefix_key

LOG = {
    "kitchen faucet": 90,
    "kitchen sink": 40,
    "kitchen": 30,
    "moen kitchen faucet": 20,
    "office chair": 55,
    "chair mat for office": 5,
    "refrigerator": 60,
    "refridgerator": 1,
    "lawn mower": 25,
    "white \u53a8\u623f": 2,
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SuggestionIndex:
    return suggestion_index(tmp_path_factory.mktemp("suggestions"), LOG)


def ask(index: SuggestionIndex, prefix: str, limit: int = 8) -> tuple[list[str], str]:
    completions = complete(index, prefix_key(prefix, "en"), limit)
    return [one.text for one in completions.suggestions], completions.corrected


def test_what_is_asked_most_comes_first(index: SuggestionIndex) -> None:
    assert ask(index, "kit") == (["kitchen faucet", "kitchen sink", "kitchen", "moen kitchen faucet"], "")
    assert ask(index, "kit", 2)[0] == ["kitchen faucet", "kitchen sink"]
    assert ask(index, "")[0][:3] == ["kitchen faucet", "refrigerator", "office chair"]


def test_a_space_ends_the_word(index: SuggestionIndex) -> None:
    assert ask(index, "kitchen ")[0] == ["kitchen faucet", "kitchen sink", "moen kitchen faucet"]


def test_words_may_stand_in_another_order(index: SuggestionIndex) -> None:
    assert ask(index, "chair off") == (["office chair", "chair mat for office"], "")
    assert ask(index, "faucet kitchen moe") == (["moen kitchen faucet"], "")
    assert ask(index, "office office ch")[0] == []  # each word is needed as often as it is typed


@pytest.mark.parametrize(
    ("typed", "first", "completed"),
    [
        ("kitchn", "kitchen faucet", "kitchen"),
        ("kichten fau", "kitchen faucet", "kitchen fau"),
        ("kitchen fuac", "kitchen faucet", "kitchen fauc"),
        ("kichten fuac", "kitchen faucet", "kitchen fauc"),
        ("lwan mower", "lawn mower", "lawn mower"),
        ("kitchn ", "kitchen faucet", "kitchen "),
        ("fuacet kitchen moe", "moen kitchen faucet", "faucet kitchen moe"),
    ],
)
def test_a_correction_is_named(index: SuggestionIndex, typed: str, first: str, completed: str) -> None:
    suggestions, corrected = ask(index, typed)
    assert suggestions[0] == first and corrected == completed


def test_what_is_known_as_typed_is_corrected_only_where_the_other_is_far_likelier(tmp_path: Path) -> None:
    rare = suggestion_index(tmp_path / "rare", {"refridgerator": 1, "refrigerator": 2000})
    assert ask(rare, "refridge") == (["refrigerator"], "refrige")
    assert ask(rare, "refr")[1] == "" and ask(rare, "refrid")[1] != ""
    short = suggestion_index(tmp_path / "short", {"hodnet": 1, "honda": 2000})
    assert ask(short, "hodn") == (["hodnet"], "")
    common = suggestion_index(tmp_path / "common", {"refridgerator": 5, "refrigerator": 2000})
    assert ask(common, "refridge") == (["refridgerator"], "")


def test_nothing_is_made_up(index: SuggestionIndex) -> None:
    assert ask(index, "xqzv") == ([], "")
    assert ask(index, "kitchen xqzv") == ([], "")


def test_signs_without_spaces_are_found_anywhere(index: SuggestionIndex) -> None:
    assert ask(index, "\u623f")[0] == ["white \u53a8\u623f"]


async def test_signs_that_are_no_word_complete_nothing(index: SuggestionIndex) -> None:
    suggester = Suggester(index, "en-GB")
    try:
        assert (await suggester.suggest("\u202e!?\x00", 8)).suggestions == []
        assert len((await suggester.suggest(" \t", 8)).suggestions) == 8
        assert (await suggester.suggest("KIT", 1)) is (await suggester.suggest("kit", 1))  # remembered
    finally:
        suggester.close()


@given(st.text(max_size=128), st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered(index: SuggestionIndex, text: str, limit: int) -> None:
    completions = complete(index, prefix_key(text, "en"), limit)
    texts = [one.text for one in completions.suggestions]
    assert len(texts) == len(set(texts)) <= limit
    assert completions == complete(index, prefix_key(text, "en"), limit)
    assert not completions.corrected or texts


def test_many_words_are_bounded_work(index: SuggestionIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    first = SuggestionIndex._first

    def count(self: SuggestionIndex, key: bytes) -> int:
        looked_up.append(key)
        return first(self, key)

    monkeypatch.setattr(SuggestionIndex, "_first", count)
    for text in ("a " * 64, "kitchn " * 18, "kitchen " * 16, "lwan mwoer " * 11, "x" * 128):
        looked_up.clear()
        ask(index, text)
        assert len(looked_up) < 600
