"""Terms with typing errors are those that a comparison with every term finds, if they share any two neighbours."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from engine.lexical.dictionary import Terms, may_be_misspelt, write_terms
from text.letters import plain

WORDS = st.text("abc\u00e4\u4e2d", min_size=3, max_size=9)


@given(st.sets(WORDS | st.text("ab1", min_size=1, max_size=5), min_size=1, max_size=30), WORDS, st.integers(1, 2))
def test_alike_misses_none_and_adds_none(vocabulary: set[str], word: str, edits: int) -> None:
    words = sorted(vocabulary, key=lambda term: term.encode())
    with tempfile.TemporaryDirectory() as folder:
        write_terms(words, {}, Path(folder))
        terms = Terms(Path(folder))
        result = {terms[result.number]: result.errors for result in terms.similar(word, edits)}
        assert [terms.find(term) for term in words] == list(range(len(words)))
    likely = [term for term in words if may_be_misspelt(term) and _neighbours(plain(term)) & _neighbours(word)]
    distances = {term: OSA.distance(word, plain(term)) for term in likely}
    assert result == {term: distance for term, distance in distances.items() if 0 < distance <= edits}


def _neighbours(term: str) -> set[str]:
    edged = f" {term} "
    return {edged[place : place + 2] for place in range(len(edged) - 1)}
