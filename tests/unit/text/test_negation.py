"""Negations of queries and products, in many languages, and what only looks like one."""

import time
from collections.abc import Callable

import pytest

from text.negation import Negations, affirmed, read_negations
from text.negation_words import NEGATION_WORDS


@pytest.mark.parametrize(
    ("language", "text", "rest", "phrases"),
    [
        ("en", "office chair without arms", "office chair", ["arms"]),
        ("en-GB", "Chair W/O Arms black", "Chair", ["Arms black"]),
        ("en", "cola no sugar", "cola", ["sugar"]),
        ("en", "no sugar cola", "cola", ["sugar"]),
        ("en", "dress not red", "dress", ["red"]),
        ("en", "jacket but not black", "jacket", ["black"]),
        ("en", "shoes without laces, black", "shoes black", ["laces"]),
        ("en", "without arms, office chair", "office chair", ["arms"]),
        ("en", "dress without sleeves or pockets", "dress", ["sleeves", "pockets"]),
        ("en", "dress without sleeves and with pockets", "dress with pockets", ["sleeves"]),
        ("en", "crisps without sugar/salt", "crisps", ["sugar", "salt"]),
        ("en", "chair with no arms for office", "chair for office", ["arms"]),
        ("en", "laptop that has no webcam", "laptop", ["webcam"]),
        ("en", "snack with no added sugar", "snack", ["sugar"]),
        ("en", "drink no sugar added", "drink", ["sugar"]),
        ("en", "lamp except blue and green", "lamp", ["blue", "green"]),
        ("en", "shampoo free of parabens", "shampoo", ["parabens"]),
        ("en", "phone without 5G", "phone", ["5G"]),
        ("en", "tv no samsung no lg", "tv", ["samsung", "lg"]),
        ("de", "Bürostuhl ohne Armlehnen", "Bürostuhl", ["Armlehnen"]),
        ("de", "Kekse ohne Zucker und Salz", "Kekse", ["Zucker", "Salz"]),
        ("de", "ohne Zucker Kekse", "Kekse", ["Zucker"]),
        ("de", "Stuhl ohne Armlehnen und mit Rollen", "Stuhl mit Rollen", ["Armlehnen"]),
        ("de", "Kleid nicht rot", "Kleid", ["rot"]),
        ("de-AT", "Schuhe keine Schnürsenkel", "Schuhe", ["Schnürsenkel"]),
        ("de", "Creme frei von Alkohol", "Creme", ["Alkohol"]),
        ("fr", "gâteau sans sucre", "gâteau", ["sucre"]),
        ("fr", "biscuit sans sucre ni sel", "biscuit", ["sucre", "sel"]),
        ("fr", "jus pas d'alcool", "jus", ["alcool"]),
        ("fr", "chaise sans l\u2019accoudoir", "chaise", ["accoudoir"]),
        ("fr", "robe pas rouge", "robe", ["rouge"]),
        ("es", "galletas sin azúcar", "galletas", ["azúcar"]),
        ("es", "silla sin brazos para oficina", "silla para oficina", ["brazos"]),
        ("es", "vestido no rojo", "vestido", ["rojo"]),
        ("it", "biscotti senza zucchero", "biscotti", ["zucchero"]),
        ("it", "vestito non rosso", "vestito", ["rosso"]),
        ("nl", "koekjes zonder suiker", "koekjes", ["suiker"]),
        ("nl", "stoel met geen armleuningen", "stoel", ["armleuningen"]),
        ("nl", "jurk niet rood", "jurk", ["rood"]),
        ("pt", "bolachas sem açúcar", "bolachas", ["açúcar"]),
        ("sv", "kakor utan socker", "kakor", ["socker"]),
        ("da", "kiks uden sukker", "kiks", ["sukker"]),
        ("nb", "kjeks uten sukker", "kjeks", ["sukker"]),
        ("pl", "ciastka bez cukru", "ciastka", ["cukru"]),
    ],
)
def test_what_is_not_wanted_is_read_and_taken_out(language: str, text: str, rest: str, phrases: list[str]) -> None:
    assert read_negations(text, language) == Negations(rest, tuple(phrases))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "wireless mouse"),
        ("en", "non-slip mat"),
        ("en", "non slip mat"),
        ("en", "sugar free gum"),
        ("en", "sugar-free gum"),
        ("en", "no-sugar cola"),
        ("en", "no show socks"),
        ("en", "mens socks no show"),
        ("en", "no drill curtain rod"),
        ("en", "no more tangles shampoo"),
        ("en", "chanel no 5"),
        ("en", "chanel no. 5"),
        ("en", "No. 2 pencils"),
        ("en", "pencils no 2b"),
        ("en", "do not disturb sign"),
        ("en", "forget me not seeds"),
        ("en", "why not t-shirt"),
        ("en", "not for resale sticker"),
        ("en", "without a trace dvd"),
        ("en", "without arms"),
        ("en", "no"),
        ("en", "dr no"),
        ("en", "bag without"),
        ("en", "nokia notebook knot"),
        ("en", "comic sans poster"),
        ("en", "ohne dich cd"),
        ("de", "nicht rostende Schrauben"),
        ("de", "Pfanne nicht haftend"),
        ("de", "Kopfhörer kabellos"),
        ("de", "zuckerfreie Kekse"),
        ("de", "nicht nur für Kinder"),
        ("fr", "aspirateur sans fil"),
        ("fr", "robe pas cher"),
        ("fr", "robe pas chère"),
        ("fr", "thermomètre sans contact"),
        ("fr", "tissu non tissé"),
        ("es", "ratón sin cable"),
        ("es", "zapatos no más de 50 euros"),
        ("it", "mouse senza fili"),
        ("it", "musica non stop"),
        ("nl", "niet klevende pan"),
        ("ja", "no sugar"),
        ("", "chair without arms"),
    ],
)
def test_what_names_a_kind_of_product_stays(language: str, text: str) -> None:
    assert read_negations(text, language) == Negations(text)


@pytest.mark.parametrize(
    ("language", "text", "kept"),
    [
        ("en", "Armless chair without arms, black", "chair black"),
        ("en", "Sugar free gum with sugar coating", "gum with sugar coating"),
        ("en", "Beer 0.0% alcohol, zero sugar", "Beer"),
        ("en", "Non-alcoholic wine", "wine"),
        ("en", "Sugar-free cola", "cola"),
        ("en", "Dress with sleeves", "Dress with sleeves"),
        ("de", "Kekse zuckerfrei, ohne Salz mit Nuss", "Kekse mit Nuss"),
        ("fr", "Chaise sans accoudoirs avec roulettes", "Chaise avec roulettes"),
        ("ja", "sugar free", "sugar free"),
    ],
)
def test_what_a_product_lacks_by_its_own_words_is_taken_out(language: str, text: str, kept: str) -> None:
    assert affirmed(text, language) == kept


@pytest.mark.parametrize("read", [lambda text: read_negations(text, "en"), lambda text: affirmed(text, "fr")])
@pytest.mark.parametrize(
    "piece", ["without a an the ", "no , or no ", "aucun ", "sans le la ", "w/o/", "pas d' ", "- "]
)
def test_reading_takes_time_by_length_alone(read: Callable[[str], object], piece: str) -> None:
    """What begins a negation again and again: a text ten times as long takes far less than a hundred times as long."""

    def seconds(count: int) -> float:
        best = 9.0
        for _ in range(5):
            start = time.process_time()
            read(piece * count)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(800) < 40 * max(seconds(80), 1e-4)


def test_every_language_has_cues_that_negate() -> None:
    for language, words in NEGATION_WORDS.items():
        for cue in words.cues.split("|"):
            space = "" if cue.endswith("'") else " "
            assert read_negations(f"xy {cue}{space}zwxv", language) == Negations("xy", ("zwxv",)), (language, cue)
