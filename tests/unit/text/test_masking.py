"""Personal data in queries: what is masked, and what stays."""

import pytest

from text.masking import MOST_CHARACTERS, mask_personal


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail ann.lee+shop@example.co.uk lamp", "mail [email] lamp"),
        ("ann (at) example.com", "[email]"),
        ("jörg@müller.de", "[email]"),
        ("ann%40example.com", "[email]"),
        ("4111_1111_1111_1111", "[card]"),
        ("4111  1111, 1111 1111", "[card]"),
        ("lamp 4111 1111 1111 1111 red", "lamp [card] red"),
        ("4111-1111-1111-1111", "[card]"),
        ("371449635398431", "[card]"),  # of American Express, 15 digits
        ("iban de89 3704 0044 0532 0130 00 for me", "iban [iban] for me"),
        ("GB82WEST12345698765432", "[iban]"),
        ("ssn 078-05-1120", "ssn [id]"),
        ("AB 12 34 56 C", "[id]"),  # a British national insurance number
        ("rssmra85t10a562s shoes", "[id] shoes"),  # an Italian codice fiscale
        ("12345678Z", "[id]"),  # a Spanish DNI
        ("529.982.247-25", "[id]"),  # a Brazilian CPF
        ("11010519491231002X", "[id]"),  # a Chinese identity number
        ("call +44 20 7946 0018 now", "call [phone] now"),
        ("(415) 555-2671", "[phone]"),
        ("415-555-2671 lamp", "[phone] lamp"),
        ("4155552671", "[phone]"),
        ("a@b.co and 4111111111111111", "[email] and [card]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert mask_personal(text, "US") == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "red lamp",
        "dewalt dcd771c2 20v",
        "milwaukee 48-22-8424",
        "4006381333931",  # a GTIN
        "4111 1111 1111 1112",  # its check digit is wrong
        "16 oz 2x4x8 100 pack",
        "1000-045-993",
        "iphone 15 at&t 256gb",
        "size 38.5 eu @ sale",
        "emco 36 x 80 200 series",
        "m8x1.25 12345",
    ],
)
def test_what_shoppers_look_for_stays(text: str) -> None:
    assert mask_personal(text, "US") == text


@pytest.mark.parametrize(
    "text",
    [
        "４１１１ １１１１ １１１１ １１１１",  # full-width
        "4111\u200b1111\u200b1111\u200b1111",  # zero-width spaces
        "٤١١١١١١١١١١١١١١١",  # Arabic digits
        "4111\u00a01111\u20091111\u202f1111",
        "4111\u20131111\u20131111\u20131111",
        "4\u0301" + "1" * 12 + "\u0301" + "1" * 3,  # combining marks
    ],
)
def test_other_digits_and_unseen_characters_hide_nothing(text: str) -> None:
    assert mask_personal(f"x {text} y") == "x [card] y"


def test_telephone_numbers_are_those_of_the_country() -> None:
    assert mask_personal("030 901820", "DE") == "[phone]"
    assert mask_personal("030 901820", "US") == "030 901820"


def test_short_numbers_count_in_their_country_alone() -> None:
    assert mask_personal("111222333", "NL") == "[id]" and mask_personal("111222333", "US") == "111222333"


def test_what_is_too_long_is_cut() -> None:
    assert mask_personal("x" * (MOST_CHARACTERS + 5)) == "x" * MOST_CHARACTERS
