"""The queries of an index job: past ones, which are suggested and measure an index, and golden ones, which a release
must answer.
"""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from catalog.table import ProductTable
from core.errors import FeedError
from core.strings import fold_text, quoted
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel
from indexer.validate import GoldenQuery

_TITLE_QUERIES = 256
_MOST_MEASURED = 1000
_MOST_DIGITS = 15


def read_queries(path: Path) -> dict[str, int]:
    """Past queries and how often each was asked, from a text file: one a line, with its count behind a tab or without
    one for 1; counts of equal ones are added up. Raises FeedError for a wrong count, or when there is no query."""
    queries: Counter[str] = Counter()
    for number, line in enumerate(_read_lines(path, "a text file with one query a line"), 1):
        written, tab, count = line.rpartition("\t")
        if not (query := fold_text(written if tab and count.strip() else line)):
            continue
        queries[query] += _read_count(count, path, number) if tab and count.strip() else 1
    if not queries:
        raise FeedError(f"{path}: holds no query; give one a line")
    return dict(queries)


def _read_count(text: str, path: Path, line: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= _MOST_DIGITS and int(text)):
        raise FeedError(
            f"{path}, line {line}: {quoted(text)} is no count; give a query alone, or a tab and a whole number from 1"
        )
    return int(text)


def read_golden(path: Path) -> tuple[GoldenQuery, ...]:
    """Golden queries from a JSONL file. Raises FeedError with the first line at fault."""
    result = []
    for number, line in enumerate(_read_lines(path, "JSONL with query, product_id and within"), 1):
        if not line.strip():
            continue
        try:
            result.append(GoldenQuery.model_validate_json(line))
        except ValidationError as error:
            raise FeedError(
                f"{path}, line {number}: {error.errors()[0]['msg']}; give query, product_id, within"
            ) from None
    return tuple(result)


def embed_queries(table: ProductTable, encoder: BiEncoder, queries: Collection[str]) -> NDArray[np.float32]:
    """Vectors of shape (q, d) of the user's past queries, 1,000 at most, or without any of short ones made of titles'
    words."""
    texts = _sample(list(queries)) or title_queries(table)
    return embed_all(OnnxModel(encoder.model_path("query")), encoder.tokenize_queries(texts))


def title_queries(table: ProductTable) -> list[str]:
    """The first two to five words of up to 256 titles; the same catalog always gives the same."""
    random = np.random.default_rng(0)
    rows = random.choice(len(table), min(_TITLE_QUERIES, len(table)), replace=False)
    titles = [table.row(int(row), ["title"])["title"].split() for row in rows]
    lengths = random.integers(2, 6, len(titles))
    return [" ".join(words[:length]) for words, length in zip(titles, lengths, strict=True)]


def _sample(queries: list[str]) -> list[str]:
    """All, or as many as are measured; the same queries always give the same."""
    if len(queries) <= _MOST_MEASURED:
        return queries
    places = np.random.default_rng(0).choice(len(queries), _MOST_MEASURED, replace=False)
    return [queries[place] for place in np.sort(places).tolist()]


def _read_lines(path: Path, expected: str) -> list[str]:
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give {expected}")
    try:
        return path.read_text("utf-8").split("\n")
    except UnicodeDecodeError:
        raise FeedError(f"{path}: is not UTF-8; give {expected}") from None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror or error}") from None
