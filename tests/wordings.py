"""Small lexical indexes for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders import product, write_columns

from catalog.table import ProductTable
from core.progress import ignore
from engine.lexical.index import LexicalIndex
from indexer.lexical import index_words
from text.synonyms import Synonyms


def lexical_index(folder: Path, rows: Sequence[dict[str, Any]], language: str = "en") -> LexicalIndex:
    """An index of these rows of the catalog's columns, made as a release's is."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ProductTable(write_columns(folder / "words.arrow", rows))
    report = index_words(columns, language, Synonyms(), folder / "lexical", ignore)
    return LexicalIndex(folder / "lexical", list(report.weights), len(rows))


def titles(*texts: str) -> list[dict[str, Any]]:
    """A product for each title, with ids that no title holds."""
    return [product(f"p{place}", text) for place, text in enumerate(texts)]
