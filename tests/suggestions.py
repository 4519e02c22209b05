"""A small index of suggestions."""

from collections.abc import Mapping
from pathlib import Path

from engine.suggest.files import Entry, write_suggestions
from engine.suggest.index import SuggestionIndex
from text.completion import completion_key

QUERY, TITLE = 1, 4


def suggestion_index(folder: Path, weights: Mapping[str, float], kind: int = QUERY) -> SuggestionIndex:
    """An index of these texts with their weights, which are their counts too."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [Entry(text, completion_key(text), kind, int(weight), weight) for text, weight in weights.items()]
    write_suggestions(entries, folder)
    return SuggestionIndex(folder)
