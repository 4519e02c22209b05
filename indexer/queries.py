"""The queries of an index job: held-out ones that measure an index, and golden ones that a release must answer."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from catalog.table import ProductTable
from core.errors import FeedError
from core.strings import fold_text
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel
from indexer.validate import GoldenQuery

_TITLE_QUERIES = 256


def read_queries(path: Path) -> tuple[str, ...]:
    """Held-out queries from a text file, one a line. Raises FeedError when there are none."""
    queries = tuple(line for line in map(fold_text, _read_lines(path, "a text file with one query a line")) if line)
    if not queries:
        raise FeedError(f"{path}: holds no query; give one a line")
    return queries


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


def embed_queries(table: ProductTable, encoder: BiEncoder, queries: tuple[str, ...]) -> NDArray[np.float32]:
    """Vectors of shape (q, d) of the user's held-out queries, or without any of short ones made of titles' words."""
    texts = list(queries) or title_queries(table)
    return embed_all(OnnxModel(encoder.model_path("query")), encoder.tokenize_queries(texts))


def title_queries(table: ProductTable) -> list[str]:
    """The first two to five words of up to 256 titles; the same catalog always gives the same."""
    random = np.random.default_rng(0)
    rows = random.choice(len(table), min(_TITLE_QUERIES, len(table)), replace=False)
    titles = [table.row(int(row), ["title"])["title"].split() for row in rows]
    lengths = random.integers(2, 6, len(titles))
    return [" ".join(words[:length]) for words, length in zip(titles, lengths, strict=True)]


def _read_lines(path: Path, expected: str) -> list[str]:
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give {expected}")
    try:
        return path.read_text("utf-8").split("\n")
    except UnicodeDecodeError:
        raise FeedError(f"{path}: is not UTF-8; give {expected}") from None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror or error}") from None
