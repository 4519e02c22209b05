"""The lexical source over a real index."""

from pathlib import Path

import numpy as np
import pytest
from wordings import lexical_index, titles

from retrieval.words import Words, WordsFailed


@pytest.fixture
def words(tmp_path: Path) -> Words:
    return Words(lexical_index(tmp_path, titles("red drill", "blue drill", "hammer")), "en", {"title": 1.0})


async def test_products_are_found_and_scored_alike(words: Words) -> None:
    matches = await words.search("red drills", 10)
    assert matches.candidates.rows.tolist() == [0, 1]
    scores = words.scores(await words.evidence(matches.query, np.array([2, 1, 0])))
    assert scores.tolist() == [0, *matches.candidates.scores[::-1].tolist()]


async def test_the_best_k_are_found(words: Words) -> None:
    assert (await words.search("red drill", 1)).candidates.rows.tolist() == [0]


async def test_a_query_is_spelt_as_products_are(words: Words) -> None:
    assert await words.spelt("Red DRLIL, hamer!") == "Red drill, hammer!"
    assert await words.spelt("red drills") == "red drills"


async def test_what_goes_wrong_is_told(words: Words) -> None:
    words.close()
    with pytest.raises(WordsFailed, match="RuntimeError"):
        await words.search("red", 1)
