"""Words within compounds, as an index holds them: Stehlampe is also the compound of a lamp.

German and related languages write as one word what others write as several. A compound's last word names the product,
and counts more than those before it; both count less than a separate word.
"""

import regex

from engine.lexical.dictionary import bare, head_term, modifier_term
from engine.lexical.index import CODES, LexicalIndex, QueryTerm
from text.terms import COMPOUNDING, Analyser, Word

HEAD, MODIFIER = 0.7, 0.3
# What the two words of a compound that no product holds count for, where products hold them otherwise.
_APART = 0.8
# The weight of a compound that ends with the word but is not split: too few compounds of the catalog end with it.
_ENDING = 0.5
_SHORTEST, _STEM, _NAME_SHARE, _MOST = 3, 4, 0.5, 16
_REST = regex.compile(r"(?=.*[aeiouyäöüåæø])\p{L}{3,}")


def within_compounds(index: LexicalIndex, term: str, places: tuple[int, ...]) -> list[QueryTerm]:
    """The compounds that a word, by its term, matches beside itself. Empty where an index has none."""
    if not index.compounds:
        return []
    parts = ((head_term(term), HEAD), (modifier_term(term), MODIFIER))
    numbers = ((index.terms.find(name), weight) for name, weight in parts)
    return [QueryTerm(number, weight, places) for number, weight in numbers if number is not None]


def ending_with(index: LexicalIndex, analyser: Analyser, word: Word, place: int) -> list[QueryTerm]:
    """The compounds that a word ends which no product holds otherwise: a small shop's only Stehlampe for Lampe.

    A stem of three letters ends too much by chance, unless it is the word.
    """
    term = word.term
    if analyser.language not in COMPOUNDING or not term.isalpha() or len(term) < _SHORTEST:
        return []
    if len(term) < _STEM and term != bare(word.text):
        return []
    ending = (one for one in index.terms.ending(term) if _REST.fullmatch(one.removesuffix(term)))
    numbers = [number for number in map(index.terms.find, ending) if number is not None]
    return [QueryTerm(number, _ENDING, (place,)) for number in numbers if not _is_name(index, number)][:_MOST]


def _is_name(index: LexicalIndex, number: int) -> bool:
    """Whether most products that hold it do so in their brand or their codes."""
    held = max(1, index.document_frequency(number))
    return max(index.named_in(field, number) for field in ("brand", CODES)) >= _NAME_SHARE * held


def known_pieces(
    index: LexicalIndex, analyser: Analyser, first: str, last: str, place: int
) -> tuple[int, list[QueryTerm]]:
    """What two pieces of a word match, and how many products hold the one that fewer hold; 0 where one is unknown."""
    fewest, terms = index.count, []
    for piece, weight in ((first, MODIFIER / HEAD), (last, 1.0)):
        term = analyser.term(piece)
        number = index.terms.find(term)
        query_terms = (
            [] if number is None else [QueryTerm(number, _APART * weight if index.compounds else 1.0, (place,))]
        )
        query_terms += [
            QueryTerm(one.number, one.weight * weight, one.words) for one in within_compounds(index, term, (place,))
        ]
        if not query_terms:
            return 0, []
        fewest = min(fewest, max(index.document_frequency(one.number) for one in query_terms))
        terms += query_terms
    return fewest, terms
