"""Queries that negate something, through the whole pipeline and a real lexical index.

Of each kind of product ten have the thing, by title, fact or description, five lack it, and five say so.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import product
from doubles import make_release

from catalog.columns import make_columns
from catalog.table import ProductTable
from catalog.view import CatalogView
from core.filters import Equal
from core.plan import Plan
from core.progress import ignore
from engine.lexical.index import LexicalIndex
from indexer.lexical import index_words
from ranker.features import FEATURE_NAMES
from ranker.final import FinalSpec
from retrieval.listing.spec import FacetSpec, ListingSpec
from retrieval.pipeline.lexical import LexicalRetriever
from retrieval.pipeline.result import LEXICAL_FAILED, SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.understanding.result import HARD, OFF, SOFT
from retrieval.wire.request import Query
from text.synonyms import Synonyms

_PLAN = Plan(candidates=1, lexical_candidates=100, rerank_depth=0)
TITLE, FACT, DESCRIPTION = "title", "color", "description"
# A kind of product, what it may have, where that stands, and the query. As on an electronics and a fashion site.
NEGATIONS = [
    ("shirt", "black", FACT, "shirt not black"),
    ("dress", "sleeves", DESCRIPTION, "dress without sleeves"),
    ("jeans", "blue", FACT, "jeans that are not blue"),
    ("top", "print", TITLE, "top with no print"),
    ("jacket", "hood", DESCRIPTION, "jacket without a hood"),
    ("bra", "underwire", DESCRIPTION, "bra w/o underwire"),
    ("blouse", "stripes", TITLE, "blouse but no stripes"),
    ("trousers", "pockets", DESCRIPTION, "trousers without any pockets"),
    ("sandals", "heels", TITLE, "sandals no heels"),
    ("jumper", "wool", FACT, "jumper free of wool"),
    ("polo", "collar", DESCRIPTION, "polo without collar"),
    ("cardigan", "buttons", DESCRIPTION, "cardigan that has no buttons"),
    ("skirt", "denim", TITLE, "skirt not denim"),
    ("leggings", "seams", DESCRIPTION, "no seams leggings"),
    ("bikini", "padding", DESCRIPTION, "bikini without padding"),
    ("boots", "laces", TITLE, "boots without laces"),
    ("socks", "white", FACT, "socks not white"),
    ("bag", "zip", DESCRIPTION, "bag with no zip"),
    ("scarf", "grey", FACT, "scarf excluding grey"),
    ("pyjamas", "cartoon", TITLE, "pyjamas not cartoon"),
    ("notebook", "windows", TITLE, "notebook without windows"),
    ("printer", "laser", TITLE, "printer not laser"),
    ("scanner", "fax", TITLE, "scanner without fax"),
    ("headset", "bluetooth", FACT, "headset not bluetooth"),
    ("mouse", "wireless", TITLE, "mouse that is not wireless"),
    ("toner", "magenta", FACT, "toner except magenta"),
    ("drive", "seagate", TITLE, "drive other than seagate"),
    ("smartphone", "samsung", TITLE, "smartphone but not samsung"),
    ("television", "curved", TITLE, "television not curved"),
    ("switch", "fan", DESCRIPTION, "switch without fan"),
    ("cable", "hdmi", TITLE, "cable without hdmi"),
    ("memory", "ddr3", TITLE, "memory not ddr3"),
    ("case", "leather", FACT, "case not leather"),
    ("projector", "epson", TITLE, "projector apart from epson"),
    ("keyboard", "keypad", DESCRIPTION, "keyboard lacking keypad"),
    ("camera", "zoom", TITLE, "camera without zoom"),
    ("monitor", "speakers", DESCRIPTION, "monitor without speakers"),
    ("server", "xeon", TITLE, "server no xeon"),
    ("tablet", "stylus", DESCRIPTION, "tablet has no stylus"),
    ("speaker", "battery", DESCRIPTION, "speaker without battery"),
]
_EACH, _HOLDING = 20, 10


def rows() -> Iterator[dict]:
    for kind, thing, place, _ in NEGATIONS:
        for i in range(_EACH):
            row = product(f"{kind}{i}", f"{kind} model{i}")
            if i < _HOLDING:
                row[place] = f"{row.get(place) or ''} {thing}".strip()
            elif i % 2:
                row[DESCRIPTION] = f"Made without {thing}." if i % 4 == 1 else f"{thing}-free {kind}, no {thing}."
            yield row


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedRelease]:
    folder = tmp_path_factory.mktemp("negations")
    release = make_release(folder, rows=list(rows()), ranker=False)
    report = index_words(ProductTable(folder / "products.arrow"), "en", Synonyms(), folder / "lexical", ignore)
    index = LexicalIndex(folder / "lexical", list(report.weights), release.products)
    release.words = LexicalRetriever(index, "en", report.weights)
    yield release
    release.words.close()


async def ask(release: LoadedRelease, text: str, mode: str, top_k: int = 10, explain: bool = False) -> SearchResult:
    query = Query(text, top_k=top_k, understanding=mode, explain=explain)
    return await search(query, _PLAN, release, Permit(), None)


def having(answer: SearchResult) -> int:
    """Hits that have what is negated."""
    return sum(hit.row % _EACH < _HOLDING for hit in answer.hits)


def test_there_are_forty() -> None:
    assert len(NEGATIONS) == len({text for *_, text in NEGATIONS}) == 40


async def test_the_negated_thing_is_in_the_first_ten_at_most_a_quarter_as_often(release: LoadedRelease) -> None:
    off = soft = 0
    for *_, text in NEGATIONS:
        off += having(await ask(release, text, OFF))
        soft += having(await ask(release, text, SOFT))
    assert off > 100 and soft <= off / 4, (off, soft)


@pytest.mark.parametrize(("kind", "thing", "place", "text"), NEGATIONS)
async def test_what_lacks_it_comes_first_and_is_of_the_kind(
    release: LoadedRelease, kind: str, thing: str, place: str, text: str
) -> None:
    answer = await ask(release, text, SOFT, top_k=_EACH)
    number = [entry[3] for entry in NEGATIONS].index(text)
    assert {hit.row // _EACH for hit in answer.hits[:10]} == {number}
    # Those that say that they lack it are not taken for those that have it.
    assert [hit.row % _EACH >= _HOLDING for hit in answer.hits[:10]] == [True] * 10
    assert answer.understanding.negations == (thing,) and kind in answer.searched_query
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)


async def test_hard_leaves_out_what_soft_puts_last(release: LoadedRelease) -> None:
    soft, hard = [await ask(release, "dress without sleeves", mode, top_k=50) for mode in (SOFT, HARD)]
    left_out = {hit.row for hit in soft.hits} - {hit.row for hit in hard.hits}
    assert left_out == set(range(_EACH, _EACH + _HOLDING)) == {hit.row for hit in soft.hits[-_HOLDING:]}
    off = await ask(release, "dress without sleeves", OFF)
    assert off.searched_query == "" and off.understanding.negations == ()


def small_release(folder: Path, titles: list[str]) -> LoadedRelease:
    release = make_release(folder, rows=[product(str(i), title) for i, title in enumerate(titles)], ranker=False)
    report = index_words(ProductTable(folder / "products.arrow"), "en", Synonyms(), folder / "words", ignore)
    index = LexicalIndex(folder / "words", list(report.weights), len(titles))
    release.words = LexicalRetriever(index, "en", report.weights)
    return release


async def test_where_all_have_it_none_is_left_out(tmp_path: Path) -> None:
    release = small_release(tmp_path, ["mouse with cord", "small mouse with cord"])
    soft, hard = [await ask(release, "mouse without cord", mode) for mode in (SOFT, HARD)]
    assert {hit.row for hit in soft.hits} == {hit.row for hit in hard.hits} == {0, 1}


@pytest.mark.parametrize(("text", "conflicts"), [("wireless", [1, 0]), ("cord", [0, 1]), ("cordless", [1, 0])])
async def test_a_word_with_a_negative_ending_is_negated_as_a_whole(
    tmp_path: Path, text: str, conflicts: list[int]
) -> None:
    """'not wireless' is not 'without wire': a wireless mouse has it, by the ending that says it lacks a wire."""
    release = small_release(tmp_path, ["wireless cordless mouse", "mouse with cord"])
    words = release.words
    assert words is not None
    assert (await words.conflicts([text], np.arange(2), release.view)).tolist() == conflicts
    words.close()


class ByTitle:
    """A final score that is BM25 of the title."""

    def __init__(self) -> None:
        self.spec = FinalSpec(features=FEATURE_NAMES, dense_weight=1.0, lexical_weight=1.0, rerank_depth=0, encoder="e")

    def contributions(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        result = np.zeros_like(table)
        result[:, FEATURE_NAMES.index("title_bm25")] = self.scores(table, rescored)
        return result

    def scores(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        return table[:, FEATURE_NAMES.index("title_bm25")]


async def test_the_final_score_gives_way_and_explains(release: LoadedRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "final", ByTitle())
    answer = await ask(release, "dress without sleeves", SOFT, top_k=50, explain=True)
    moved = {hit.row for hit in answer.hits if "negation_rule" in {reason.feature for reason in hit.contributions}}
    assert moved == set(range(_EACH, _EACH + _HOLDING)) == {hit.row for hit in answer.hits[-_HOLDING:]}


async def test_named_in_a_title_is_worse_than_in_a_description(release: LoadedRelease) -> None:
    assert release.words is not None
    places = [entry[0] for entry in NEGATIONS]
    in_title, in_description = places.index("boots") * _EACH, places.index("bag") * _EACH
    rows = np.array([in_title, in_description, in_title + 11, in_description + 10])
    conflicts = await release.words.conflicts(["laces", "zip"], rows, release.view)
    assert conflicts.tolist() == [1, 0.5, 0, 0]


async def test_where_words_fail_the_order_stays_and_the_answer_tells(
    release: LoadedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert release.words is not None

    def fail(*_: object) -> None:
        raise OSError("mapped file is gone")

    monkeypatch.setattr(release.words._negations, "conflicts", fail)
    answer = await ask(release, "boots without laces", SOFT)
    assert len(answer.hits) == 10 and [entry.reason for entry in answer.degraded] == [LEXICAL_FAILED]


async def test_hard_leaves_it_out_of_facets_without_their_own_filter(
    release: LoadedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = ["red" if row % 2 else "blue" for row in range(release.products)]
    segment = replace(release.view.base, columns=make_columns({"color": colours}))
    monkeypatch.setattr(release, "view", CatalogView(segment))
    listing = ListingSpec(match_all=True, facets=(FacetSpec("color", exclude_own_filter=True),))
    answers = {}
    for colour in ("red", "blue"):
        query = Query("dress without sleeves", understanding=HARD, listing=listing, filter=Equal("color", colour))
        answers[colour] = await search(query, _PLAN, release, Permit(), None)
    totals = {colour: answer.total.value for colour, answer in answers.items() if answer.total}
    assert totals == dict.fromkeys(answers, (len(NEGATIONS) * _EACH - _HOLDING) // 2)
    for answer in answers.values():
        assert dict(answer.facets[0].values) == totals


async def test_hard_leaves_it_out_of_totals_and_facets_too(release: LoadedRelease) -> None:
    listing = ListingSpec(count=True, match_all=True)
    query = Query("dress without sleeves", top_k=5, understanding=HARD, listing=listing)
    answer = await search(query, _PLAN, release, Permit(), None)
    # All but the ten dresses with sleeves.
    assert answer.total is not None and answer.total.value == len(NEGATIONS) * _EACH - _HOLDING
