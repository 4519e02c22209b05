"""Words within compounds of several languages, expected by hand."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from builders import product
from wordings import lexical_index, titles

from engine.lexical.compounds import HEAD, MODIFIER
from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser
from indexer import compounds
from indexer.texts import TermSequences
from text.terms import Analyser

SHOPS = {
    "de": (
        "Stehlampe Pendellampe Wandlampe Schreibtischlampe Nachttischlampe Deckenlampe LED-Leselampe B\u00fcrostuhl "
        "Gartenstuhl Klappstuhl Esstisch Couchtisch Gartentisch Klapptisch Beistelltisch "
        "Wei\u00dfwein Rotwein Ros\u00e9wein Damenschuhe Turnschuhe Laufschuh Armbanduhr Wanduhr K\u00fcchenuhr "
        "Brotmesser Kochmesser Gem\u00fcsemesser "
        "Schlampe Schwein elastisch fantastisch praktisch",
        {
            "lampe": {
                *("stehlampe", "pendellampe", "wandlampe", "schreibtischlampe", "nachttischlampe", "deckenlampe"),
                "led-leselampe",
            },
            "lampen": {
                *("stehlampe", "pendellampe", "wandlampe", "schreibtischlampe", "nachttischlampe", "deckenlampe"),
                "led-leselampe",
            },
            "st\u00fchle": {"b\u00fcrostuhl", "gartenstuhl", "klappstuhl"},
            "tisch": {"esstisch", "couchtisch", "gartentisch", "klapptisch", "beistelltisch"},
            "wein": {"wei\u00dfwein", "rotwein", "ros\u00e9wein"},
            "schuh": {"damenschuhe", "turnschuhe", "laufschuh"},
            "uhr": {"armbanduhr", "wanduhr", "k\u00fcchenuhr"},
            "messer": {"brotmesser", "kochmesser", "gem\u00fcsemesser"},
        },
    ),
    "nl": (
        "bureaustoel tuinstoel klapstoelen hanglamp vloerlamp leeslamp handtas rugtas laptoptas winterjas regenjas "
        "spijkerjas kinderbed stapelbed logeerbed broodmes koksmes zakmes",
        {
            "stoel": {"bureaustoel", "tuinstoel", "klapstoelen"},
            "lampen": {"hanglamp", "vloerlamp", "leeslamp"},
            "tas": {"handtas", "rugtas", "laptoptas"},
            "jas": {"winterjas", "regenjas", "spijkerjas"},
            "bed": {"kinderbed", "stapelbed", "logeerbed"},
            "mes": {"broodmes", "koksmes", "zakmes"},
        },
    ),
    "sv": (
        "bordslampa golvlampa taklampa kontorsstol matstol gungstol handv\u00e4ska axelv\u00e4ska datorv\u00e4ska "
        "regnjacka vinterjacka skinnjacka r\u00f6dvin vitvin portvin ros\u00e9vin",
        {
            "lampa": {"bordslampa", "golvlampa", "taklampa"},
            "stol": {"kontorsstol", "matstol", "gungstol"},
            "v\u00e4ska": {"handv\u00e4ska", "axelv\u00e4ska", "datorv\u00e4ska"},
            "jacka": {"regnjacka", "vinterjacka", "skinnjacka"},
            "vin": {"r\u00f6dvin", "vitvin", "portvin", "ros\u00e9vin"},
        },
    ),
    "da": (
        "gulvlampe loftlampe v\u00e6glampe barneseng k\u00f8jeseng rejseseng l\u00f8besko vandresko b\u00f8rnesko "
        "br\u00f8dkniv kokkekniv lommekniv",
        {
            "lampe": {"gulvlampe", "loftlampe", "v\u00e6glampe"},
            "seng": {"barneseng", "k\u00f8jeseng", "rejseseng"},
            "sko": {"l\u00f8besko", "vandresko", "b\u00f8rnesko"},
            "kniv": {"br\u00f8dkniv", "kokkekniv", "lommekniv"},
        },
    ),
    "nb": (
        "taklampe gulvlampe vegglampe h\u00e5ndveske skulderveske dataveske",
        {"lampe": {"taklampe", "gulvlampe", "vegglampe"}, "veske": {"h\u00e5ndveske", "skulderveske", "dataveske"}},
    ),
}


def asked(index: LexicalIndex, query: str, language: str) -> dict[str, float]:
    return {index.terms[term.number]: term.weight for term in LexicalQueryParser(index, language).read(query).terms}


@pytest.fixture(scope="module", params=SHOPS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, LexicalIndex]:
    words = SHOPS[request.param][0].split()
    # With an article number each, and a brand that is spelt nearly like what is asked for.
    rows = [product(f"p{place}", f"{word} {place}", brand="Lamm Jakob") for place, word in enumerate(words)]
    return request.param, lexical_index(tmp_path_factory.mktemp(request.param), rows, request.param)


def test_a_word_finds_the_compounds_that_end_with_it_and_is_not_mended(shop: tuple[str, LexicalIndex]) -> None:
    language, index = shop
    words = SHOPS[language][0].lower().split()
    for word, expected in SHOPS[language][1].items():
        query = LexicalQueryParser(index, language).read(word)
        heads = [term for term in query.terms if term.weight == HEAD]
        result = {words[row] for row in index.search(heads, {"title": 1.0}, 99).rows}
        assert result == expected, word
        assert not query.spellings
        matched = index.evidence(query, np.arange(index.count)).matched
        assert 0 < matched.max() < 1  # in part: it is no word of its own


def test_a_word_alone_comes_before_compounds_and_these_before_those_it_stands_first_in(tmp_path: Path) -> None:
    texts = (
        "Lampenschirm",
        "Schirm",
        "Stehlampe rot",
        "Lampe gelb",
        "Wandlampe blau",
        "Tischlampe rosa",
        "Lampe braun",
    )
    index = lexical_index(tmp_path, titles(*texts), "de")
    assert asked(index, "lampe", "de") == {"lamp": 1.0, "~lamp": HEAD, "lamp~": MODIFIER}
    query = LexicalQueryParser(index, "de").read("lampe")
    assert index.search(query.terms, {"title": 1.0}, 9).rows.tolist() == [3, 6, 2, 4, 5, 0]


def test_a_compound_never_counts_more_where_the_word_alone_is_common(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles(*["Lampe gelb"] * 20, "Stehlampe rot", *["Vase"] * 5), "de")
    query = LexicalQueryParser(index, "de").read("lampe")
    assert index.search(query.terms, {"title": 1.0}, 30).rows.tolist()[-1] == 20


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("Kinderstuhl rot", "kinder stuhl"),
        ("Stuhl f\u00fcr Kinder", "kinderstuhl"),
        ("Schreibtischlampe", "schreib tisch lampe"),
        ("Lampe f\u00fcr den Schreibtisch", "schreibtischlampe"),
        ("Kinder-Stuhl", "kinderstuhl"),
    ],
)
def test_compounds_and_their_words_apart_find_each_other(tmp_path: Path, title: str, query: str) -> None:
    others = ("Gartenstuhl", "Klappstuhl", "Hochstuhl", "Stehlampe", "Wandlampe", "Vase gr\u00fcn", "Teller")
    index = lexical_index(tmp_path, titles(*others, title), "de")
    read = LexicalQueryParser(index, "de").read(query)
    assert index.search(read.terms, {"title": 1.0}, 9).rows[0] == len(others)


def test_brands_and_codes_are_not_split(tmp_path: Path) -> None:
    names = ("Waldmann", "Bergmann", "Hoffmann", "Lindemann")
    rows = [product(f"Kostmann{place}", f"{name} Vase", brand=name) for place, name in enumerate(names)]
    index = lexical_index(tmp_path, rows, "de")
    assert not index.compounds and asked(index, "mann", "de") == {}


@pytest.mark.parametrize(
    ("language", "word", "titles_", "rows"),
    [
        ("de", "lampe", "Schreibtischlampe|Klemme|Lamm", [0]),
        ("de", "lampen", "Schreibtischlampe|Klemme|Lamm", [0]),
        ("de", "schmuck", "Weihnachtsbaumschmuck|Christbaumschmuck|Vase", [0, 1]),
        ("de", "ente", "Instrument|Vase|Teller", []),  # its stem ends many by chance
        ("de", "vase", "Bodenvase|Vase|Teller", [0, 1]),
        ("nl", "jas", "winterjas|regenjas|fles", [0, 1]),
        ("sv", "kniv", "kockkniv|br\u00f6dkniv|sk\u00e5l", [0, 1]),
        ("da", "sko", "vandresko|l\u00f8besko|kop", [0, 1]),
        ("nb", "veske", "h\u00e5ndveske|skulderveske|kopp", [0, 1]),
        ("en", "lamp", "desklamp|vase|plate", []),
    ],
)
def test_a_small_shops_only_compounds_are_found_by_their_end(
    tmp_path: Path, language: str, word: str, titles_: str, rows: list[int]
) -> None:
    index = lexical_index(tmp_path, titles(*titles_.split("|")), language)
    query = LexicalQueryParser(index, language).read(word)
    assert sorted(index.search(query.terms, {"title": 1.0}, 9).rows.tolist()) == rows
    assert not query.spellings


def test_other_languages_are_not_split(tmp_path: Path) -> None:
    for language in ("en", "fr", "es", "ru"):
        index = lexical_index(tmp_path / language, titles("desklamp", "floorlamp", "walllamp", "lamp"), language)
        assert not index.compounds


def test_a_field_is_as_long_as_it_is_written(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("Stehlampe rot", "Wandlampe blau", "Pendellampe"), "de")
    query = LexicalQueryParser(index, "de").read("lampe")
    assert index.evidence(query, np.arange(3)).lengths[:, index.fields.index("title")].tolist() == [2, 2, 1]


def test_parts_stand_after_their_terms() -> None:
    texts = TermSequences(np.array([5, 1, 5, 2]), np.array([2, 0, 2]))
    parts = {5: np.array([7, 8]), 2: np.array([9])}
    result = texts.with_parts(parts, 10)
    assert result.terms.tolist() == [5, 7, 8, 1, 5, 7, 8, 2, 9]
    assert result.lengths.tolist() == [4, 0, 5]


def test_the_work_grows_with_the_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted as the prefixes that are looked up: twice the forms make about twice the work."""

    def looked(many: int) -> int:
        looks = 0
        real = compounds._PrefixIndex.branches

        def counted(self: compounds._PrefixIndex, start: str) -> int:
            nonlocal looks
            looks += 1
            return real(self, start)

        with monkeypatch.context() as patch:
            patch.setattr(compounds._PrefixIndex, "branches", counted)
            split = compounds.CompoundSplitter(Analyser("de"))
            parts = ["".join(pair) for pair in itertools.product(("stu", "lam", "ti", "ko", "wan"), repeat=4)]
            split.count(one + other for one, other in itertools.islice(itertools.product(parts, parts), many))
            assert split.split()
        return looks

    assert looked(2000) < 3 * looked(1000)
