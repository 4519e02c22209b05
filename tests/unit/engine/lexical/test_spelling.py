"""What is mended in queries, what is not, and that no query costs much."""

from pathlib import Path

import pytest
from builders import product
from wordings import lexical_index, titles

from engine.lexical import dictionary as terms
from engine.lexical import spelling
from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser
from text.terms import LONGEST_WORD, Analyser

BOTTLES = ("washbasin", "washroom", "washcloth", "washtub", "basin", "room", "cloth", "tub", "mash potato")


def spelt(index: LexicalIndex, text: str, language: str = "en") -> dict[str, str]:
    return dict(LexicalQueryParser(index, language).read(text).spellings)


def test_a_word_that_makes_several_others_is_right(tmp_path: Path) -> None:
    assert spelt(lexical_index(tmp_path / "two", titles("mash potato", "washbasin")), "wash") == {"wash": "mash"}
    assert spelt(lexical_index(tmp_path / "many", titles(*BOTTLES)), "wash") == {}


def test_only_a_likely_slip_makes_a_brand_of_a_word(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, [product("1", "saw", brand="Makita"), product("2", "ham", brand="Tesch")])
    assert spelt(index, "makitta") == {"makitta": "makita"}
    assert spelt(index, "tisch") == {}  # i and e are no neighbours


def test_names_are_spelt_without_their_signs(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("Arc'teryx jacket"))
    assert spelt(index, "arctreyx jacket") == {"arctreyx": "arc'teryx"}


def test_codes_and_words_of_signs_are_never_mended(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("rjcd", "\u4fdd\u6e29\u676f", "\u05e6\u05d9\u05e4\u05e1"), "zh")
    for text in ("rjc4", "\u4fdd\u6e29\u74f6", "\u05d2\u05d9\u05e0\u05e1", "\u05e6\u05d9\u05e4\u05d9"):
        assert spelt(index, text, "zh") == {}


MOST = 512
SCRIPTS = {
    "han": "".join(map(chr, range(0x4E00, 0x4E00 + MOST))),
    "han words": "\u65e0\u7ebf\u84dd\u7259\u8033\u673a" * MOST,
    "thai": "\u0e2b\u0e39\u0e1f\u0e31\u0e07" * MOST,
    "kana": "\u30ef\u30a4\u30e4\u30ec\u30b9" * MOST,
    "hangul": "\uc774\uc5b4\ud3f0" * MOST,
    "one token": "abcdefgh" * MOST,
    "misspelt": " ".join("xbcd" + chr(97 + i % 26) + chr(97 + i // 26) for i in range(MOST)),
    "letters": "a b c d e f g " * MOST,
    "points": "a.b.c." * MOST,
    "apostrophes": "a'bb'" * MOST,
    "hyphens": "aa-bb-" * MOST,
    "codes": " ".join(f"a{i}b" for i in range(MOST)),
    "sizes": "1 x 2 x " * MOST,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_query_looks_up_few_terms_whatever_it_says(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = lexical_index(tmp_path, titles("abcd efgh drill", "\u65e0\u7ebf\u8033\u673a", "bcdef ghijk"), "de")
    counts = {"find": 0, "similar": 0}

    def counting(name: str) -> None:
        real = getattr(terms.Terms, name)

        def counted(*arguments: object) -> object:
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(terms.Terms, name, counted)

    reader = LexicalQueryParser(index, "de")
    counting("find")
    counting("similar")
    query = reader.read(SCRIPTS[script][:MOST])
    assert counts["find"] < 4000 and counts["similar"] <= 6
    assert len(query.words) <= 64 and len(query.terms) <= 260


def test_few_forms_are_compared_letter_by_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["dr" + chr(97 + i % 26) + chr(97 + i // 26 % 26) + chr(97 + i // 676) for i in range(2000)]
    terms.write_terms(sorted(words), {}, tmp_path)
    compared = 0
    real = terms.OSA.distance

    def distance(*arguments: object, **options: object) -> object:
        nonlocal compared
        compared += 1
        return real(*arguments, **options)

    monkeypatch.setattr(terms, "OSA", type("OSA", (), {"distance": staticmethod(distance)}))
    assert "drill" not in words
    assert terms.Terms(tmp_path).similar("drill", 2)
    assert compared <= 400


def test_only_words_of_some_length_are_cut_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = []
    monkeypatch.setattr(spelling, "known_pieces", lambda *arguments: cuts.append(arguments) or (0, []))
    reader = LexicalQueryParser(lexical_index(tmp_path, titles("drill")), "en")
    reader.read("q" * LONGEST_WORD)
    assert not cuts
    reader.read("q" * 20)
    assert len(cuts) == 20 - 2 * 3 + 1


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("language", ["en", "zh", "ja"])
def test_a_long_text_has_words_in_proportion(script: str, language: str) -> None:
    analyser = Analyser(language)
    once, twice = (len(analyser.words((SCRIPTS[script] + " ") * many)) for many in (1, 2))
    assert twice <= 2 * once + 2
    held = [len(word.all_terms) for word in analyser.words(SCRIPTS[script])]
    assert max(held) <= 20 and all(len(word.term) <= LONGEST_WORD for word in analyser.words(SCRIPTS[script]))
