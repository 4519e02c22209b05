import io

import pytest

from indexer.feed import survey as survey_module
from indexer.feed.encoding import guess_encoding
from indexer.feed.survey import survey_bytes


def encoding(data: bytes, language: str | None = None) -> str:
    seen = survey_bytes(io.BytesIO(data))
    if seen.certain or seen.is_utf8:
        return seen.certain or "utf-8"
    choice = guess_encoding(seen.sample, language)
    assert choice
    return choice.name


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-32"])
def test_marks_tell_the_encoding(name: str) -> None:
    assert encoding("id,title\n1,ä".encode(name)) == name


@pytest.mark.parametrize("name", ["utf-16-be", "utf-32-be"])
def test_big_ends_are_told_by_their_marks_too(name: str) -> None:
    assert encoding("\ufeffid".encode(name)) == name[:6]


def test_utf8_stands_while_as_many_lines_are_good_as_bad() -> None:
    good, bad = (line.encode(name) for line, name in (("Größe\n", "utf-8"), ("Größe\n", "cp1252")))
    assert encoding(b"plain\n") == "utf-8"
    assert encoding(good * 2 + bad * 2) == "utf-8"
    assert encoding(good * 2 + bad * 3) == "cp1252"


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["id,title\n1,plain\n", "编号,标题\n1,儿童红色夹克\n2,防水透气\n3,新款\n4,大号\n"])
def test_zeros_tell_unicode_without_a_mark(name: str, text: str) -> None:
    assert encoding(text.encode(name)) == name


def test_a_stray_nul_makes_no_utf16() -> None:
    assert encoding(b"id,title\n1,a\0b\n" + b"2,c\0d\n\0" * 5) == "utf-8"


@pytest.mark.parametrize("name", ["iso2022_jp", "iso2022_kr"])
def test_escapes_tell_encodings_of_seven_bits(name: str) -> None:
    text = "1,\u5b50\u4f9b" if name == "iso2022_jp" else "1,어린이"
    data = f"id,title\n{text}\n".encode(name)
    assert data.decode(encoding(data)) == f"id,title\n{text}\n"


def test_texts_cut_inside_a_letter_stay_utf8() -> None:
    line = "1,Größenübersicht für Mädchenschuhe und Jäger".encode()
    assert encoding(b"".join(line + b"\xc3\n" for _ in range(50))) == "utf-8"


def test_the_sample_is_of_all_parts_of_the_file() -> None:
    lines = b"".join(f"{i},ä".encode("cp1252") + b"\n" for i in range(200_000))
    numbers = [int(line.split(b",")[0]) for line in survey_bytes(io.BytesIO(lines)).sample.splitlines()]
    assert len(numbers) > 1000
    assert [sum(n // 50_000 == quarter for n in numbers) > 200 for quarter in range(4)] == [True] * 4


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", ""])
@pytest.mark.parametrize("chunk", [16, 17, 18])
def test_letters_torn_between_chunks_are_whole(monkeypatch: pytest.MonkeyPatch, end: str, chunk: int) -> None:
    monkeypatch.setattr(survey_module, "_CHUNK", chunk)  # a line takes 11 bytes and its end
    assert encoding(("1,儿童色" + end).encode() * 20) == "utf-8"


def test_the_sample_for_guessing_ends_with_a_whole_letter() -> None:
    # 65,536 bytes end within the second byte of a letter, under which no Chinese encoding fits.
    lines = "1;兒童紅色夾克 防水透氣 新款\n".encode("big5") * 5000
    assert encoding(lines) == "cp950"  # Big5 as files have it


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cp1252", "Größe für Jungen, très bon, 12 €"),
        ("cp1251", "Красная куртка для детей"),
        ("cp1253", "Κόκκινο μπουφάν, παιδικό μέγεθος"),
        ("cp932", "子供用の赤いジャケット、防水"),
        ("gb18030", "儿童红色夹克 防水透气 新款"),
        ("cp949", "어린이 빨간 재킷 방수"),
    ],
)
def test_encodings_by_their_words(name: str, text: str) -> None:
    assert encoding(("id;title\n" + f"1;{text}\n" * 20).encode(name)) == name
