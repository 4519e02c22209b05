"""Words that no product holds, and how they are taken to be spelt."""

from pathlib import Path

import pytest
from wordings import lexical_index, titles

from core.synonyms import Synonyms
from engine.lexical import LexicalIndex
from engine.lexical_query import QueryReader

TITLES = (
    *["alkaline batteries"] * 3,
    "battery charger",
    *["garden hose"] * 4,
    *["house paint"] * 9,
    "dish washer",
    "brass gate vallve",
    *["wide vale", "vavs"] * 4,
    *[f"valve {size} brass" for size in range(1600)],
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    return lexical_index(tmp_path_factory.mktemp("words"), titles(*TITLES))


@pytest.mark.parametrize(
    ("text", "spellings"),
    [
        ("alkaline batery", {"batery": "battery"}),  # as it is written with the fewest errors
        ("alkaline bateries", {"bateries": "batteries"}),
        ("alkaline battteriez", {"battteriez": "batteries"}),
        ("garden hoose", {"hoose": "hose"}),  # in a garden, though more products have a house
        ("hoose paint", {"hoose": "house"}),
        ("hoose", {"hoose": "hose"}),  # a letter hit twice, not another one
        ("hkuse", {"hkuse": "house"}),
        ("brass vallve", {"vallve": "valve"}),  # which one feed holds too
        ("garden hose", {}),
        ("brass vale", {"vale": "valve"}),  # which no product holds with brass
        ("brass vavw", {"vavw": "valve"}),  # two in a word of four
        ("wide vale", {}),
        ("hose paint", {}),  # known, and house is not that much commoner
        ("brass vavs", {}),  # known, and two errors away
        ("house paimmt", {"paimmt": "paint"}),
        ("alkaline paimmt", {}),  # two errors away from what is never with batteries
        ("alkaline painnt", {"painnt": "paint"}),
        ("dishwasher", {}),
        ("brass valvee", {"valvee": "valve"}),  # whose stem is a word, though it is none
        ("garden hos", {"hos": "hose"}),
        ("garden hoe", {"hoe": "hose"}),
        ("dis washer", {"dis": "dish"}),  # not "di s"
        ("zzzzzz", {}),
        ("hxyze", {}),
        ("v4lve", {}),  # a code
    ],
)
def test_the_likeliest_spelling(index: LexicalIndex, text: str, spellings: dict[str, str]) -> None:
    assert dict(QueryReader(index, "en").read(text).spellings) == spellings


def test_a_word_of_the_language_is_no_misspelling(index: LexicalIndex) -> None:
    query = QueryReader(index, "en", is_word=lambda text: text == "hoose").read("garden hoose")
    assert not query.spellings
    assert {index.terms[term.number] for term in query.terms} == {"garden"}


def test_a_word_with_a_synonym_is_known(index: LexicalIndex) -> None:
    rules = Synonyms(groups=(("hoose", "charger"),))
    assert not QueryReader(index, "en", rules).read("hoose paint").spellings


def test_company_by_hand(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("red mug", "red cup", "blue mug", "red mug set"))
    number = {index.terms[place]: place for place in range(len(index.terms))}
    assert index.company(number["mug"], {}) == 3
    assert index.company(number["mug"], {number["red"]: 0.5, number["set"]: 2.0}) == 2 * 0.5 + 2.0
