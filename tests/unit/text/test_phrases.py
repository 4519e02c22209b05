"""Phrases found in texts, and where those stand."""

import pytest

from text.phrases import Match, Phrases, located
from text.terms import Analyser


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Red  MUGS, blue", ["Red", "MUGS", "blue"]),
        ("½ inch pipe", ["½ inch", "pipe"]),
        ("pipe 2½ in. long", ["pipe", "2½ in", "long"]),
        ("STRAßE rot", ["STRAßE", "rot"]),
        ("ﬁne \uff34\uff36 men\u2019s", ["ﬁne", "\uff34\uff36", "men\u2019s"]),
        ("10 sq ft rug", ["10 sq ft", "rug"]),
        ("size 2x4 lumber", ["size", "2", "4", "lumber", None]),  # the size as a whole stands nowhere
        ("a table to a t", ["a", "table", "to", "a", "t"]),
    ],
)
def test_words_are_located_in_the_text_as_typed(text: str, pieces: list[str | None]) -> None:
    result = located(text, Analyser("en"))
    assert [None if span is None else text[slice(*span)] for _, span in result] == pieces


def test_pairs_of_characters_are_located_though_they_overlap() -> None:
    text = "赤い長椅子"
    assert [span for _, span in located(text, Analyser("ja"))] == [(0, 2), (1, 3), (2, 4), (3, 5)]


def test_the_leftmost_longest_phrases_are_found_and_none_overlaps() -> None:
    phrases = Phrases(["tv", "tv stand", "stand table", "table"], Analyser("en"))
    assert phrases.find("TV stands table") == [Match(0, 9, (1,)), Match(10, 15, (3,))]
    assert phrases.find("stand table tv") == [Match(0, 11, (2,)), Match(12, 14, (0,))]
    assert phrases.find("mtv standing-tablet") == []


def test_phrases_that_analysis_takes_for_the_same_are_found_together() -> None:
    assert Phrases(["sofa", "rug", "Sofas"], Analyser("en")).find("sofa's") == [Match(0, 6, (0, 2))]


def test_stop_words_may_count_for_nothing() -> None:
    strict, loose = (Phrases(["chest of drawers"], Analyser("en"), stop_words=kept) for kept in (True, False))
    assert strict.find("chest drawers") == [] and len(strict.find("a chest of drawers")) == 1
    assert len(loose.find("the chest drawers")) == 1


def test_a_phrase_of_nothing_is_found_nowhere() -> None:
    assert Phrases(["", "!"], Analyser("en")).find("! mug") == []
    assert Phrases([], Analyser("en")).find("mug") == []


def test_what_a_text_costs_does_not_grow_with_the_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in texts analysed: finding analyses one text, however many phrases there are."""
    asked: list[str] = []
    analyse = Analyser.words
    monkeypatch.setattr(Analyser, "words", lambda self, text: asked.append(text) or analyse(self, text))
    phrases = Phrases([f"thing{letter}" for letter in "abcdefgh"], Analyser("en"))
    assert len(asked) == 8
    phrases.find("a thinga")
    assert len(asked) == 9
