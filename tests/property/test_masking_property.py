"""Masking of any text: planted data never stays, the rest does, and nothing takes long."""

import time

from faker import Faker
from hypothesis import given, settings
from hypothesis import strategies as st

from text.masking import MOST_CHARACTERS, mask_personal

LOCALES = ("en_US", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "pt_BR", "en_CA")
WORDS = st.lists(st.sampled_from(("red", "lamp", "für", "灯", "20v", "m8", "🙂", "½")), max_size=4).map(" ".join)


@given(st.sampled_from(LOCALES), st.integers(0, 10**6), WORDS, WORDS)
@settings(max_examples=150)
def test_planted_data_never_stays(locale: str, seed: int, before: str, after: str) -> None:
    fake = Faker(locale)
    fake.seed_instance(seed)
    for value, word in ((fake.email(), "email"), (fake.iban(), "iban"), (fake.credit_card_number("visa16"), "card")):
        masked = mask_personal(f"{before} {value} {after}", locale[-2:])
        assert value not in masked and f"[{word}]" in masked
        assert masked.startswith(before) and masked.endswith(after)


@given(st.text(max_size=300))
@settings(max_examples=300)
def test_any_text_is_masked_once_and_for_all(text: str) -> None:
    masked = mask_personal(text)
    assert mask_personal(masked) == masked


@given(st.text(alphabet="abcdefgh äß灯-_/.,", max_size=200))
def test_text_without_digits_and_addresses_stays(text: str) -> None:
    assert mask_personal(text) == text


def test_long_and_hostile_text_takes_no_longer_than_its_length_allows() -> None:
    """Four times the text takes at most some ten times as long, whatever it is made of."""
    for piece in ("1 ", "1-", "a.b@", "a@b.c.", "at ( ", "DE89 ", "+1 ", "(", "1/", "x1", "é1", "٤ "):
        seconds = []
        for size in (MOST_CHARACTERS // 4, MOST_CHARACTERS):
            text = (piece * size)[:size]
            mask_personal(text)
            times = []
            for _ in range(3):
                started = time.thread_time()
                mask_personal(text)
                times.append(time.thread_time() - started)
            seconds.append(min(times))
        assert seconds[1] < 12 * seconds[0] + 0.05, (piece, seconds)
