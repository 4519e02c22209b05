"""Scripts without spaces: what happens where the Chinese segmenter is not installed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import MissingPackageError
from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser
from indexer.lexical import index_texts
from text import scripts
from text.scripts import check_segmenter, segment

_MESSAGE = r"^a catalog with Chinese words needs pip install 'tandem-retrieval\[chinese\]'$"


@pytest.fixture
def without_rjieba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    scripts._segmenter.cache_clear()
    yield
    scripts._segmenter.cache_clear()


def read(index: LexicalIndex, language: str, query: str) -> list[str]:
    return [index.terms[term.number] for term in LexicalQueryParser(index, language).read(query).terms]


def test_chinese_comes_by_words_with_the_segmenter_and_in_pairs_without(request: pytest.FixtureRequest) -> None:
    run = "\u4e0d\u9508\u94a2\u6c34\u58f6"  # stainless steel kettle
    assert [word for word, _, _ in segment(run, japanese=False)] == ["\u4e0d\u9508\u94a2", "\u6c34\u58f6"]
    request.getfixturevalue("without_rjieba")
    pairs = [run[place : place + 2] for place in range(4)]
    assert [word for word, _, _ in segment(run, japanese=False)] == pairs


@pytest.mark.usefixtures("without_rjieba")
def test_terms_are_chinese_unless_the_catalog_is_japanese() -> None:
    check_segmenter(["kettle", "\u3068\ub4dc", "5l"], "en")
    check_segmenter(["\u6c34\u58f6"], "ja")
    for language in ("zh", "en"):
        with pytest.raises(MissingPackageError, match=_MESSAGE):
            check_segmenter(["kettle", "\u6c34\u58f6"], language)


def test_a_catalog_with_chinese_words_is_neither_indexed_nor_read_without_the_segmenter(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    texts = ["steel kettle", "\u6c34\u58f6 2l"]
    report = index_texts(texts, "en", tmp_path / "mixed")
    mixed = LexicalIndex(tmp_path / "mixed", list(report.weights), 2)
    assert read(mixed, "en", "\u6c34\u58f6") == ["\u6c34\u58f6"]
    request.getfixturevalue("without_rjieba")
    for refused in (
        lambda: index_texts(texts, "en", tmp_path / "again"),
        lambda: LexicalQueryParser(mixed, "en"),
    ):
        with pytest.raises(MissingPackageError, match=_MESSAGE):
            refused()


@pytest.mark.usefixtures("without_rjieba")
def test_a_catalog_without_chinese_words_needs_no_segmenter_whatever_its_queries_hold(tmp_path: Path) -> None:
    report = index_texts(["steel kettle", "kettle \u03b1"], "en", tmp_path / "plain")
    index = LexicalIndex(tmp_path / "plain", list(report.weights), 2)
    assert read(index, "en", "kettle \u6c34\u58f6") == ["kettl"]
