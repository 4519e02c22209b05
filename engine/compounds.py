"""Words within compounds, as an index holds them: Stehlampe is also the compound of a lamp.

German and its kin write as one word what others write apart. A compound's last word says what a thing is, and counts
more than those before it; both count less than a word that stands alone.
"""

from core.words import Analyser
from engine.lexical import LexicalIndex, QueryTerm
from engine.terms import head_term, modifier_term

HEAD, MODIFIER = 0.7, 0.3
# What the two words of a compound that no product holds count for, where products hold them otherwise.
_APART = 0.8


def within_compounds(index: LexicalIndex, term: str, places: tuple[int, ...]) -> list[QueryTerm]:
    """What a word, by its term, asks for beside itself: compounds made with it. Nothing where an index has none."""
    if not index.compounds:
        return []
    found = ((head_term(term), HEAD), (modifier_term(term), MODIFIER))
    numbers = ((index.terms.find(name), weight) for name, weight in found)
    return [QueryTerm(number, weight, places) for number, weight in numbers if number is not None]


def known_pieces(
    index: LexicalIndex, analyser: Analyser, first: str, last: str, place: int
) -> tuple[int, list[QueryTerm]]:
    """What two pieces of a word ask for, and how many products hold the one that fewer hold; 0 where one is unknown."""
    fewest, terms = index.count, []
    for piece, weight in ((first, MODIFIER / HEAD), (last, 1.0)):
        term = analyser.term(piece)
        number = index.terms.find(term)
        asked = [] if number is None else [QueryTerm(number, _APART * weight if index.compounds else 1.0, (place,))]
        asked += [
            QueryTerm(one.number, one.weight * weight, one.words) for one in within_compounds(index, term, (place,))
        ]
        if not asked:
            return 0, []
        fewest = min(fewest, max(index.document_frequency(one.number) for one in asked))
        terms += asked
    return fewest, terms
