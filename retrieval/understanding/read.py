"""Reads what a query states by its words alone."""

from retrieval.release.loaded import LoadedRelease
from retrieval.understanding.result import OFF, Understanding
from text.negation import read_negations
from text.price_bounds import asks_for_low_price


def read_statements(text: str, mode: str, release: LoadedRelease) -> tuple[str, Understanding]:
    """The text to search for, and what the query states beside it: price bounds and negations."""
    if mode == OFF:
        return text, Understanding()
    rest, bounds = release.price_bounds(text)
    negations = read_negations(rest, release.manifest.language)
    return negations.rest, Understanding(
        negations=negations.phrases, price=bounds, low_price=bounds is None and asks_for_low_price(rest)
    )
