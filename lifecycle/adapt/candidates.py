"""What words and towers retrieve for made-up queries, fused as a release serves it."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.plan import Plan
from core.progress import Report, ignore
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.lexical.index import Evidence, LexicalIndex, LexicalQuery
from engine.lexical.query_parser import LexicalQueryParser
from engine.onnx.session import OnnxModel
from engine.protocol import Candidates
from indexer.lexical import index_words
from lifecycle.adapt.shop import UnjudgedShop
from lifecycle.examples.candidates import RetrievedProducts, nearest
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet, fuse_ranks
from retrieval.pipeline.coverage import favour
from retrieval.pipeline.lexical import apply_spellings
from text.synonyms import Synonyms

# A product holds a word of a query where its best term counts nearly as much as the word itself.
_WHOLE = 1 - 1e-4


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """A query as it is searched: with likelier spellings, as words read it, and what they retrieve."""

    text: str
    parsed: LexicalQuery
    words: Candidates


@dataclass(frozen=True, slots=True)
class WordVotes:
    """Of r products: BM25, what fusion adds for words that names cover, and whether they hold every word; all (r,)."""

    scores: NDArray[np.float32]
    favour: NDArray[np.float32]
    whole: NDArray[np.bool_]


class ServedWords:
    """The lexical index of a shop, with the fields and weights of a release, in a folder that goes with it."""

    def __init__(self, shop: UnjudgedShop, towers: BiEncoder, report: Report = ignore) -> None:
        """`towers` know which words are spelt right, as in a release."""
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-adapt-words-")
        folder = Path(self._folder.name)
        table = shop.write(folder / "products.arrow")
        made = index_words(table, shop.language, Synonyms(), folder / "words", report)
        self._weights = made.weights
        self._index = LexicalIndex(folder / "words", list(made.weights), len(table))
        self._parser = LexicalQueryParser(self._index, shop.language, None, towers.is_word)

    def read(self, query: str, count: int) -> ReadQuery:
        """The query with the `count` products that match it best."""
        parsed = self._parser.read(query)
        text = apply_spellings(query, parsed.spellings)
        if text != query:
            parsed = self._parser.read(text)
        return ReadQuery(text, parsed, self._index.search(parsed.terms, self._weights, count, parsed.synonyms))

    def fuse(
        self,
        query: ReadQuery,
        dense: Candidates,
        similarity: Callable[[NDArray[np.int64]], NDArray[np.float32]],
        weights: tuple[float, float] = (1.0, 1.0),
    ) -> CandidateSet:
        """The candidates in the order in which a release fuses them; `similarity` gives the cosines of rows, (r,)."""
        fusion = fuse_ranks({DENSE: dense, LEXICAL: query.words}, weights)
        evidence = self._index.evidence(query.parsed, fusion.rows)
        scores = {DENSE: similarity(fusion.rows), LEXICAL: self._bm25(evidence)}
        return fusion.completed(scores).with_evidence(query.parsed, evidence, weights[1])

    def judge(self, query: ReadQuery, rows: NDArray[np.int64]) -> WordVotes:
        """What words say of these products."""
        evidence = self._index.evidence(query.parsed, rows)
        whole = np.full(len(rows), bool(query.parsed.words))
        if query.parsed.words and len(rows):
            whole = (evidence.matched.max(1) >= _WHOLE).all(1)
        return WordVotes(self._bm25(evidence), favour(query.parsed, evidence, 1.0), whole)

    def holders(self, query: ReadQuery) -> NDArray[np.int64]:
        """The products that hold every word of the query: it fits them all equally well."""
        if not query.parsed.words:
            return np.zeros(0, np.int64)
        covered, _ = self._index.matches(query.parsed, self._weights)
        return np.flatnonzero(covered >= _WHOLE)

    def _bm25(self, evidence: Evidence) -> NDArray[np.float32]:
        """Of r products, shape (r,), over all fields."""
        weights = np.array([self._weights.get(name, 0.0) for name in evidence.fields], np.float32)
        return evidence.scores @ weights


class Towers:
    """The exported towers of a folder, with the vectors of a shop's products, shape (n, d)."""

    def __init__(self, folder: Path, texts: Sequence[str], report: Report = ignore) -> None:
        """Raises ModelError when the folder holds no towers."""
        self.folder = folder
        self.spec = BiEncoder.open(folder)
        model = OnnxModel(self.spec.model_path("item"))
        self.items = embed_all(model, self.spec.tokenize_items(list(texts)), report)

    def queries(self, texts: Sequence[str], report: Report = ignore) -> NDArray[np.float32]:
        """Unit vectors of queries, shape (q, d)."""
        model = OnnxModel(self.spec.model_path("query"))
        return embed_all(model, self.spec.tokenize_queries(list(texts)), report)


def fused_orders(
    words: ServedWords,
    queries: Sequence[ReadQuery],
    vectors: NDArray[np.float32],
    items: NDArray[np.float32],
    weights: tuple[float, float] = (1.0, 1.0),
) -> list[CandidateSet]:
    """The candidates of each query as fused with these vectors, of shape (q, d) and (n, d); `weights` are those of
    towers and words."""
    lines = _lines(nearest(vectors, items, Plan().candidates))
    return [
        words.fuse(query, line, partial(_similarity, items, vector), weights)
        for query, line, vector in zip(queries, lines, vectors, strict=True)
    ]


def _similarity(
    items: NDArray[np.float32], vector: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    return items[rows] @ vector


def _lines(retrieved: RetrievedProducts) -> list[Candidates]:
    return [Candidates(rows, scores) for rows, scores in zip(retrieved.rows, retrieved.scores, strict=True)]
