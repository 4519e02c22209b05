import numpy as np
import pytest

from catalog.columns import Kind
from indexer.inference import InferredType, declared_type, infer_type, list_separator, read_boolean, split_values


def infer(values: dict[str, int], language: str = "en") -> InferredType:
    return infer_type(list(values), np.array(list(values.values())), language)


@pytest.mark.parametrize(
    ("values", "language", "kind", "unit"),
    [
        ({"Yes": 3, "no": 2}, "en", Kind.boolean, ""),
        ({"Y": 3}, "de", Kind.boolean, ""),
        ({"Ja": 3, "Nein": 1}, "de", Kind.boolean, ""),
        ({"Ja": 3, "Nein": 1}, "fr", Kind.string, ""),
        ({"Yes": 3, "Optional": 1}, "en", Kind.string, ""),
        ({"18 V": 3, "12V": 2, "18 volt": 1}, "en", Kind.number, "v"),
        ({"18 V": 95, "on request": 5}, "en", Kind.number, "v"),
        ({"18 V": 94, "on request": 6}, "en", Kind.string, ""),
        ({"18 V": 1, "20 mm": 1}, "en", Kind.string, ""),
        ({"10": 5, "0017": 1, "11": 200}, "en", Kind.string, ""),
        ({"2026-01-31": 1, "2025-12-01T10:00:00": 1}, "en", Kind.date, ""),
        ({"2026-02-31": 1, "2025-12-01": 1}, "en", Kind.string, ""),
        ({"red, blue": 1, "blue, green": 1, "red": 1}, "en", Kind.strings, ""),
        ({"A|B": 1, "B|A|C": 1, "C": 1}, "en", Kind.strings, ""),
        ({"Wifi; Bluetooth": 1, "Bluetooth; NFC": 1, "NFC; Wifi": 1}, "en", Kind.strings, ""),
        ({"Black,Blue": 1, "Blue,Cyan": 1, "Cyan,Black": 1}, "en", Kind.strings, ""),
        ({"Easy to clean, made of wood": 1, "Soft, warm and light": 1}, "en", Kind.string, ""),
        ({"1,5 - 2,5": 1, "2,5 - 3,5": 1}, "en", Kind.string, ""),
        ({"Cable A1, Black": 1, "Cable B2, Black": 1, "Case, White": 1, "Box, White": 1}, "en", Kind.string, ""),
        ({"solid": 1, "striped": 2}, "en", Kind.string, ""),
    ],
)
def test_types_are_inferred_of_values(values: dict[str, int], language: str, kind: Kind, unit: str) -> None:
    inferred = infer(values, language)
    assert (inferred.kind, inferred.unit) == (kind, unit)


def test_a_few_lists_among_many_single_values_make_no_set() -> None:
    values = {f"v{i}": 1 for i in range(300)} | {"v1, v2": 1, "v2, v3": 1}
    assert infer(values).kind is Kind.string


def test_the_separator_of_a_set_is_kept() -> None:
    inferred = infer({"red, blue": 1, "blue, green": 1, "red": 1})
    assert inferred.separator is not None
    assert split_values("red, 1,5 m , red,blue", inferred.separator) == ["red", "1,5 m", "blue"]


def test_declared_numbers_have_the_commonest_unit_and_declared_sets_a_separator() -> None:
    counts = np.array([3, 1, 1])
    assert declared_type(Kind.number, ["1 m", "2 cm", "x"], counts, "en") == InferredType(Kind.number, "m")
    several = declared_type(Kind.strings, ["a; b", "c", "d"], counts, "en")
    assert several.separator is not None and split_values("a; b", several.separator) == ["a", "b"]
    assert declared_type(Kind.string, ["1", "2", "3"], counts, "en") == InferredType(Kind.string)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Black/White", ["Black", "White"]),
        ("Black / White, Red;Red", ["Black", "White", "Red"]),
        ("1/2 in", ["1/2 in"]),
        ("36/38", ["36/38"]),
        ("S/M", ["S", "M"]),
        ("2,5", ["2,5"]),
        ("/", []),
    ],
)
def test_colours_sizes_and_materials_are_split_but_for_fractions(text: str, parts: list[str]) -> None:
    assert split_values(text, list_separator()) == parts


def test_yes_and_no_of_the_catalogs_language() -> None:
    assert read_boolean("Evet", "tr-TR") is True and read_boolean("hay\u0131r", "tr") is False
    assert read_boolean("maybe", "en") is None and read_boolean("oui", "en") is None
