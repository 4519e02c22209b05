"""How much of a query every product holds, against what the evidence of each product says."""

from pathlib import Path

import numpy as np
import pytest
from wordings import lexical_index, titles

from engine.lexical.query_parser import LexicalQueryParser
from text.synonyms import Synonyms

_WEIGHTS = {"title": 1.0}


@pytest.mark.parametrize(
    "query",
    ["red drill", "cordless red drll", "drill zzzz", "zzzz", "couch", "18v drill", "tischlampe rot", "lampen"],
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_coverage_and_scores_are_those_of_the_evidence(tmp_path: Path, query: str, language: str) -> None:
    shop = titles("red drill", "blue cordless drill 18v", "love seat red", "toilet seat", "tischlampe", "lampe", "saw")
    index = lexical_index(tmp_path, shop, language)
    parsed = LexicalQueryParser(index, language, Synonyms(groups=(("couch", "love seat"),))).read(query)
    covered, scores = index.matches(parsed, _WEIGHTS)
    evidence = index.evidence(parsed, np.arange(len(shop)))
    known = {place for term in parsed.terms for place in term.words}
    known |= {place for group in parsed.synonyms for one in group for place in one.words}
    weights = np.array([weight if place in known else 0 for place, weight in enumerate(parsed.weights)])
    searched = [name != "units" for name in index.fields]
    held = np.minimum(evidence.matched[:, searched].max(1, initial=0), 1)
    expected = held @ weights / max(weights.sum(), 1e-6) if len(weights) else np.zeros(len(shop))
    np.testing.assert_allclose(covered, expected, atol=1e-5)
    titled = evidence.scores[:, index.fields.index("title")]
    np.testing.assert_allclose(scores, titled, atol=1e-4)


def test_a_part_of_a_word_counts_as_a_part(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("tischlampe", "lampe", "stuhl"), "de")
    parsed = LexicalQueryParser(index, "de").read("lampe")
    covered, _ = index.matches(parsed, _WEIGHTS)
    assert covered[1] == 1 and 0 < covered[0] < 1 and covered[2] == 0
