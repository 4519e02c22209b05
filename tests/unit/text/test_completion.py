import time

import pytest

from text.completion import MOST_STARTS, completion_key, prefix_key, starts


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  Café-Table,  OAK ", "cafe table oak"),
        ("Women's boots", "womens boots"),
        ("women\u2019s BOOTS", "womens boots"),
        ('3/4" pipe', "3 4 pipe"),
        ("cafe\u0301", "cafe"),
        ("\u202ecouch\u202c \x00sofa", "couch sofa"),
        ("\uff2b\uff29\uff34", "kit"),
        ("\u53a8\u623f 20cm", "\u53a8\u623f 20cm"),
        ("!?", ""),
        ("", ""),
    ],
)
def test_letters_are_compared_however_they_are_typed(text: str, key: str) -> None:
    assert completion_key(text) == key


def test_a_space_in_the_end_ends_the_word() -> None:
    assert prefix_key("Office  ") == "office " and prefix_key("Office") == "office"
    assert prefix_key("   ") == prefix_key("") == prefix_key("-- ") == ""


def test_the_dotless_i_is_turkish_alone() -> None:
    assert completion_key("ISITICI", "tr") == completion_key("\u0131s\u0131t\u0131c\u0131", "tr")


def test_words_start_after_spaces_and_each_sign_of_chinese_is_one() -> None:
    assert list(starts("red oak table")) == [0, 4, 8]
    assert list(starts("\u53a8\u623f kit")) == [0, 1, 3]
    assert len(list(starts("a " * 50))) == len(list(starts("\u53a8" * 50))) == MOST_STARTS


def test_marks_without_end_take_time_that_grows_with_them() -> None:
    def seconds(count: int) -> float:
        text = "e" + "\u0301\u0323" * count
        start = time.process_time()
        for _ in range(20):
            completion_key(text)
        return time.process_time() - start

    assert min(seconds(8000) for _ in range(3)) < 6 * min(seconds(2000) for _ in range(3)) + 0.05
