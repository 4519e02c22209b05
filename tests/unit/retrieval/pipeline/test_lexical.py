"""The lexical source over a real index."""

import re
from pathlib import Path

import numpy as np
import pytest
from wordings import lexical_index, titles

from retrieval.pipeline.lexical import LexicalFailed, LexicalRetriever
from text.synonyms import Synonyms


@pytest.fixture
def words(tmp_path: Path) -> LexicalRetriever:
    return LexicalRetriever(lexical_index(tmp_path, titles("red drill", "blue drill", "hammer")), "en", {"title": 1.0})


async def test_products_are_found_and_scored_alike(words: LexicalRetriever) -> None:
    matches = await words.search("red drills", 10)
    assert matches.candidates.rows.tolist() == [0, 1]
    scores = words.scores(await words.evidence(matches.query, np.array([2, 1, 0])))
    assert scores.tolist() == [0, *matches.candidates.scores[::-1].tolist()]


async def test_the_best_k_are_found(words: LexicalRetriever) -> None:
    assert (await words.search("red drill", 1)).candidates.rows.tolist() == [0]


async def test_a_query_is_spelt_as_products_are(words: LexicalRetriever) -> None:
    assert await words.correct_spelling("Red DRLIL, hamer!") == "Red drill, hammer!"
    assert await words.correct_spelling("red drills") == "red drills"


async def test_every_place_of_a_misspelt_word_is_mended_and_no_other(words: LexicalRetriever) -> None:
    assert (
        await words.correct_spelling("hamer hammer's Hamer-hamers (HAMER)") == "hammer hammer's hammer-hamers (hammer)"
    )


async def test_mending_costs_one_pass_however_many_words_are_misspelt(
    words: LexicalRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    compile_pattern = re._compiler.compile  # type: ignore[attr-defined]
    monkeypatch.setattr(re._compiler, "compile", lambda *given: compiled.append(given) or compile_pattern(*given))  # type: ignore[attr-defined]
    await words.correct_spelling(" ".join(f"hamer{letter} drlil{letter}" for letter in "abcdefgh"))
    assert not compiled


async def test_queries_are_rewritten_on_the_words_thread(tmp_path: Path) -> None:
    rules = Synonyms(rewrites={"café table": "bistro table"})
    words = LexicalRetriever(lexical_index(tmp_path, titles("bistro table")), "en", {"title": 1.0}, rules)
    assert await words.apply_rewrites("Red cafe tables") == "Red bistro table"
    words.close()
    with pytest.raises(LexicalFailed):
        await words.apply_rewrites("cafe table")


async def test_without_rules_no_thread_is_asked_to_rewrite(words: LexicalRetriever) -> None:
    words.close()
    assert await words.apply_rewrites("cafe table") == "cafe table"


async def test_what_goes_wrong_is_told(words: LexicalRetriever) -> None:
    words.close()
    with pytest.raises(LexicalFailed, match="RuntimeError"):
        await words.search("red", 1)
