"""What synonyms ask of an index, and what products get for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import product
from wordings import lexical_index, titles

from engine.lexical import alternatives
from engine.lexical.alternatives import Alternative
from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser
from text.synonyms import Synonyms

_WEIGHTS = {"title": 1.0, "description": 0.3}
_SEATS = (
    "Velvet Love Seat Blue",
    "Corner Sofa Grey",
    "Toilet Seat White",
    "Love Song Vinyl",
    "Seat Belt",
    "Car Seat Cover",
    "Oak Table",
    "Love Heart Mug",
)


def rules(*groups: Sequence[str]) -> Synonyms:
    return Synonyms(groups=tuple(map(tuple, groups)))


def asked(index: LexicalIndex, text: str, synonyms: Synonyms, language: str = "en") -> list[set[tuple[object, ...]]]:
    """Of each phrase with synonyms, the terms of each with those that count, and the places of what they stand for."""
    query = LexicalQueryParser(index, language, synonyms).read(text)

    def spelt(numbers: Sequence[int]) -> tuple[str, ...]:
        return tuple(index.terms[number] for number in numbers)

    return [{(spelt(one.numbers), spelt(one.counted), one.words) for one in ones} for ones in query.synonyms]


def scores_of_query(index: LexicalIndex, text: str, synonyms: Synonyms) -> dict[int, float]:
    """Products found, best first, with their scores; the evidence of each says the same."""
    query = LexicalQueryParser(index, "en", synonyms).read(text)
    candidates = index.search(query.terms, _WEIGHTS, 50, query.synonyms)
    evidence = index.evidence(query, candidates.rows)
    fields = np.array([_WEIGHTS.get(field, 0.0) for field in index.fields], np.float32)
    assert (evidence.scores @ fields).tolist() == pytest.approx(candidates.scores.tolist(), rel=1e-5)
    return dict(zip(candidates.rows.tolist(), candidates.scores.tolist(), strict=True))


@pytest.fixture(scope="module")
def seats(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    return lexical_index(tmp_path_factory.mktemp("seats"), titles(*_SEATS))


def test_a_phrase_asks_for_all_words_of_another_at_once(seats: LexicalIndex) -> None:
    sofas = rules(("sofa", "love seat", "divan"))  # which no product says
    assert asked(seats, "grey sofas", sofas) == [{(("love", "seat"), ("love", "seat"), (1,))}]
    assert asked(seats, "a blue love seat", sofas) == [{(("sofa",), ("sofa",), (1, 2))}]
    assert asked(seats, "seat of love", sofas) == [] and asked(seats, "love", sofas) == []


def test_words_of_a_phrase_count_only_where_a_product_holds_them_all(seats: LexicalIndex) -> None:
    assert list(scores_of_query(seats, "sofa", rules(("sofa", "love seat")))) == [1, 0]
    ranked = list(scores_of_query(seats, "love seat", rules(("sofa", "love seat"))))
    assert ranked[:2] == [0, 1] and set(ranked[2:]) == {2, 3, 4, 5, 7}


def test_a_synonym_counts_as_much_as_the_words_it_stands_for(tmp_path: Path) -> None:
    """Sofas are many and settees are few: rarer words are no better an answer for that."""
    index = lexical_index(
        tmp_path, titles("red sofa", "blue sofa", "green sofa", "grey settee", "oak table", "tin cup")
    )
    scores = scores_of_query(index, "sofa", rules(("sofa", "settee")))
    assert scores[3] == pytest.approx(0.8 * scores[0], rel=1e-5)
    other = scores_of_query(index, "settee", rules(("sofa", "settee")))
    assert other[0] == pytest.approx(0.8 * other[3], rel=1e-5)


def test_a_product_that_says_a_thing_twice_counts_once(tmp_path: Path) -> None:
    index = lexical_index(
        tmp_path, titles("red sofa thing", "sofa couch settee", "couch settee thing", "oak table top")
    )
    scores = scores_of_query(index, "sofa", rules(("sofa", "couch", "settee")))
    assert scores[1] == scores[0] and scores[2] == pytest.approx(0.8 * scores[0], rel=1e-5)


def test_words_that_phrases_share_count_for_themselves(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("tv stand", "tv unit", "kitchen unit", "tv cable", "drill stand"))
    tables = rules(("tv stand", "tv unit"))
    assert asked(index, "tv stand", tables) == [{(("tv", "unit"), ("unit",), (1,))}]
    scores = scores_of_query(index, "tv stand", tables)
    assert list(scores)[:2] == [0, 1] and 2 not in scores
    assert asked(index, "tv", rules(("tv", "tv unit"))) == []  # which asks for nothing else


def test_words_far_apart_in_a_long_field_are_no_phrase(tmp_path: Path) -> None:
    apart = f"you will love it {'and more of the same ' * 10} with a heated seat"
    rows = [
        product("p0", "Grey Sofa", description="for two"),
        product("p1", "Red Car", description=apart),
        product("p2", "Blue Chair", description="a love seat"),
        product("p3", "Oak Table", description="round"),
    ]
    index = lexical_index(tmp_path, rows)
    assert list(scores_of_query(index, "sofa", rules(("sofa", "love seat")))) == [0, 2]


def test_fields_hold_a_phrase_each_by_itself(tmp_path: Path) -> None:
    rows = [product("p0", "Love Mug", description="on a seat"), product("p1", "Grey Sofa", description="soft")]
    assert list(scores_of_query(lexical_index(tmp_path, rows), "sofa", rules(("sofa", "love seat")))) == [1]


def test_what_stands_for_words_covers_them(seats: LexicalIndex) -> None:
    query = LexicalQueryParser(seats, "en", rules(("sofa", "love seat"))).read("grey sofa")
    matched = seats.evidence(query, np.array([0, 1, 2])).matched[:, list(seats.fields).index("title")]
    np.testing.assert_allclose(matched, [[0, 0.8], [1, 1], [0, 0]])


def test_an_unknown_word_with_a_synonym_weighs_as_that(seats: LexicalIndex) -> None:
    with_rule = LexicalQueryParser(seats, "en", rules(("divan", "love seat"))).read("divan")
    assert with_rule.weights == LexicalQueryParser(seats, "en").read("sofa").weights  # one product holds either
    assert not with_rule.spellings


def test_the_longest_phrase_alone_has_its_synonyms(seats: LexicalIndex) -> None:
    several = rules(("sofa", "love seat"), ("seat", "belt"), ("love seat", "oak table"))
    assert asked(seats, "love seat", several) == [
        {(("sofa",), ("sofa",), (0, 1)), (("oak", "tabl"), ("oak", "tabl"), (0, 1))}
    ]
    assert asked(seats, "seat sofa", several) == [
        {(("belt",), ("belt",), (0,))},
        {(("love", "seat"), ("love", "seat"), (1,))},
    ]


@pytest.mark.parametrize(
    ("language", "catalog", "group", "query"),
    [
        ("en", ["cotton tee red", "shirt press"], ("t-shirt", "tee"), "T shirts"),
        ("en", ["bistro table", "oak desk"], ("café table", "bistro table"), "cafe tables"),
        ("zh", ["沙发", "木椅"], ("长沙发", "沙发"), "真皮长沙发"),
        ("ja", ["ソファ 青", "木の机"], ("長椅子", "ソファ"), "赤い長椅子"),
    ],
)
def test_phrases_are_found_as_words_are(
    tmp_path: Path, language: str, catalog: list[str], group: tuple[str, str], query: str
) -> None:
    index = lexical_index(tmp_path, titles(*catalog), language)
    reading = LexicalQueryParser(index, language, rules(group)).read(query)
    assert 0 in index.search(reading.terms, _WEIGHTS, 5, reading.synonyms).rows.tolist()
    assert any(reading.synonyms)


def test_signs_that_part_words_part_their_synonyms(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("csharp primer", "vitamin c", "oak table"))
    assert len(asked(index, "c# book", rules(("c#", "csharp")))) == 1
    assert asked(index, "vitamin c", rules(("c#", "csharp"))) == []


def test_there_is_an_end_to_what_a_query_asks_for(tmp_path: Path) -> None:
    names = [f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    index = lexical_index(tmp_path, titles(*names, *(f"{name} x" for name in names[:5])))
    groups = rules(*(names[start : start + 16] for start in range(0, 64, 16)))
    query = LexicalQueryParser(index, "en", groups).read(" ".join(names[::8]))
    chosen = [one for ones in query.synonyms for one in ones]
    assert len(chosen) == 32 and {one.frequency for one in chosen} >= {2}


def test_a_group_is_analysed_when_a_query_first_asks_for_it(seats: LexicalIndex) -> None:
    """Rules are many, and few of them are asked for: loading a release does not look all of their terms up."""
    reader = LexicalQueryParser(
        seats, "en", rules(*((f"sofa{i}", f"seat{i}") for i in range(50)), ("sofa", "love seat"))
    )
    kept = reader._synonyms._read_groups
    assert len(kept) == 0
    reader.read("sofa")
    assert [number for (number,) in kept] == [50]


def test_what_is_added_is_the_most_of_the_alternatives() -> None:
    class Postings:
        """Product 0 holds terms 1 and 2, product 1 terms 0 and 2, product 2 term 1; each scores 1 + its number."""

        def __init__(self) -> None:
            self.lengths = np.array([3, 3, 3], np.int32)
            self.rows = {0: [1], 1: [0, 2], 2: [0, 1]}

        def lookup(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            held = np.array(self.rows[number], np.int32)
            return held, np.full(len(held), 1.0 + number, np.float32)

        def at(self, number: int, rows: np.ndarray) -> np.ndarray:
            return np.isin(rows, self.rows[number]) * np.float32(1 + number)

    class Term:
        number, weight, scale, words = 0, 1.0, 1.0, (0,)

    one = Alternative((1,), (1,), (0,), 0.8, scale=0.5)  # 2 * 0.5 = 1 for products 0 and 2
    both = Alternative((1, 2), (1, 2), (0,), 0.8, scale=0.5)  # (2 + 3) * 0.5 = 2.5 for product 0
    other = Alternative((2,), (2,), (0,), 0.8, scale=0.5)  # 3 * 0.5 = 1.5 for 0; for 1, less 1 for its own word, 0.5
    rows, scores = alternatives.added([one, both, other], [Term()], Postings())
    assert rows.tolist() == [0, 1, 2] and scores.tolist() == [2.5, 0.5, 1.0]
    same, held = alternatives.added_to([one, both, other], [Term()], Postings(), np.array([2, 1, 0]))
    assert same.tolist() == [1.0, 0.5, 2.5]
    assert [mask.tolist() for _, mask in held] == [[True, False, True], [False, False, True], [False, True, True]]
