"""Rewrites over anything that is typed."""

from hypothesis import given
from hypothesis import strategies as st

from core.strings import fold_text
from text.phrases import located
from text.rewrites import Rewriter
from text.terms import Analyser

_ANALYSERS = {language: Analyser(language) for language in ("en", "zh", "ja", "de", "fr")}
_RULES = Rewriter({"sofa bed": "@", "½ inch": "@", "移动": "@", "c++": "@"}, "en")
_TYPED = st.text(
    st.sampled_from("sofabed SOFABED ½⅔ inch\"' 2x4 移动电源 c++#ß ﬁ İ é e\u0301 \u2019-/., ｶﾞ กำ") | st.characters(),
    max_size=40,
)


@given(_TYPED, st.sampled_from(sorted(_ANALYSERS)))
def test_words_stand_in_their_order_inside_the_text(typed: str, language: str) -> None:
    text = fold_text(typed)
    analyser = _ANALYSERS[language]
    spans = [span for _, span in located(text, analyser) if span]
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)


@given(st.lists(_TYPED, min_size=1, max_size=4))
def test_rewriting_replaces_spans_and_leaves_all_else_as_typed(pieces: list[str]) -> None:
    """What is left around the outcomes stands in the query, in order and apart."""
    text = fold_text(" ".join(pieces)).replace("@", "")
    place = 0
    for kept in _RULES.rewrite(text).split("@"):
        start = text.find(kept, place)
        assert start >= 0
        place = start + len(kept)


@given(_TYPED)
def test_a_rule_finds_its_own_phrase(typed: str) -> None:
    phrase = fold_text(typed).casefold()
    if any(span for _, span in located(phrase, _ANALYSERS["en"])):
        assert "@" in Rewriter({phrase: "@"}, "en").rewrite(f"{phrase}")
