import io
from pathlib import Path

import pytest

from core.errors import FeedError
from indexer.cleaning.mapping import FeedMapping
from indexer.feed.encoding import codec_name, guess_encoding
from indexer.feed.read import open_feed
from indexer.products import clean_feed

# A few products of a shop, in each language.
TITLES = {
    "tr": "Kırmızı ışıldak; Beyaz kitaplık; Yünlü havlu; Kışlık çorap; Ahşap gömlek askısı; İpek eşarp",
    "ru": "Большая сумка; Красная куртка для детей; Чайник электрический; Деревянная ложка; Сковорода",
    "uk": "Червона куртка для дітей; Велика сковорода з кришкою; Сині джинси чоловічі; Дерев'яна ложка",
    "bg": "Червено яке за деца; Сини дънки мъжки; Голяма чаша за кафе; Дървена лъжица",
    "pl": "Źródlana woda gazowana; Żółta koszulka dziecięca; Łyżka stołowa; Pościel bawełniana; świeca",
    "cs": "Žlutý hrnek s ouškem; Dětská bunda červená; Řezací prkénko dřevěné; Šňůra na prádlo",
    "hu": "Piros kabát gyerekeknek; Kék bögre füllel; Bőr öv nőknek; Tűzálló edény; Fűzős cipő",
    "el": "Κόκκινο μπουφάν παιδικό; Άσπρη κούπα καφέ; Παπούτσια ανδρικά μαύρα; Ξύλινο κουτάλι",
    "he": "מעיל אדום לילדים; כוס קפה גדולה; נעליים שחורות לגברים; כף עץ",
    "ar": "حذاء رياضي أحمر للأطفال; كوب قهوة كبير; سترة شتوية للرجال; ملعقة خشبية",
    "th": "เสื้อยืดสีแดง; แก้วกาแฟใหญ่; รองเท้าผู้ชายสีดำ กันน้ำ; ช้อนไม้",
    "lt": "Žalioji šakutė; Didelis puodelis iš ąžuolo; Vyriški batai, dydžių įvairovė; Kėdė ūkiui; Vėžys",
    "lv": "Sarkana jaka bērniem; Liela kafijas krūze; Vīriešu kurpes; Koka karote ķēkim; Žāvētas ogas",
    "ja": "木製 皿 大; 赤い傘 子供用; 折りたたみ傘; ステンレス鍋; 毎日の暮らしに役立つ丈夫な品です",
    "zh": "红色雨伞 儿童; 不锈钢锅 大号; 木制盘子; 防水透气 新款 夹克",
    "zh-TW": "紅色雨傘 兒童; 不鏽鋼鍋 大號; 木製盤子; 防水透氣 新款 夾克",
    "ko": "어린이 빨간 재킷 방수; 스테인리스 냄비 대형; 나무 접시; 커피 잔",
    "de": "Größe für Jungen; Grüne Hose 12 €; Weiße Schüssel aus Holz; Bügeleisen – klein; Mädchenmütze",
    "fr": "Très bon café à l’ancienne; Étagère en chêne; Cœur brodé; Théière émaillée; Boîte à gâteaux",
    "es": "Camiseta para niños; Tamaño pequeño; Lámpara de pie; Cojín de algodón; Sartén con tapón",
    "sv": "Röd jacka för barn; Stor kaffekopp på fot; Träsked; Blå mössa; Gästhandduk",
    "en": "Men’s shoe – 12 in.; Café table “Lyon”; Soda maker®; Crème brûlée torch 5°",
}
CODECS = [
    *[("tr", codec) for codec in ("cp1254", "iso8859_9", "cp857", "mac_turkish")],
    *[("ru", codec) for codec in ("cp1251", "koi8_r", "iso8859_5", "cp866", "mac_cyrillic")],
    *[("uk", codec) for codec in ("cp1251", "koi8_u")],
    ("bg", "cp1251"),
    *[("pl", codec) for codec in ("cp1250", "iso8859_2", "cp852", "mac_latin2")],
    *[("cs", codec) for codec in ("cp1250", "iso8859_2", "cp852")],
    *[("hu", codec) for codec in ("cp1250", "iso8859_2")],
    *[("el", codec) for codec in ("cp1253", "iso8859_7", "cp737")],
    *[("he", codec) for codec in ("cp1255", "iso8859_8", "cp862")],
    *[("ar", codec) for codec in ("cp1256", "iso8859_6")],
    ("th", "cp874"),
    *[("lt", codec) for codec in ("cp1257", "iso8859_13", "cp775")],
    ("lv", "cp1257"),
    *[("ja", codec) for codec in ("cp932", "euc_jp")],
    *[("zh", codec) for codec in ("gb18030", "gb2312")],
    ("zh-TW", "big5"),
    *[("ko", codec) for codec in ("cp949", "euc_kr", "johab")],
    *[("de", codec) for codec in ("cp1252", "iso8859_15", "mac_roman", "cp850")],
    *[("fr", codec) for codec in ("cp1252", "mac_roman", "cp850")],
    *[("es", codec) for codec in ("cp1252", "mac_roman")],
    *[("sv", codec) for codec in ("cp1252", "mac_roman")],
    *[("en", codec) for codec in ("cp1252", "mac_roman")],
]
# Nobody's any more: known by the mapping's language alone.
OLD = ("cp857", "cp852", "cp737", "cp862", "cp775", "cp850", "mac_turkish", "mac_latin2", "johab")


def lines(language: str, codec: str, times: int = 1) -> bytes:
    titles = TITLES[language].split("; ") * times
    return "".join(f"{i},{title}\n" for i, title in enumerate(titles)).encode(codec, "ignore")


@pytest.mark.parametrize(("language", "codec"), CODECS)
def test_the_mappings_language_tells_its_encodings_apart(language: str, codec: str) -> None:
    data = lines(language, codec)
    choice = guess_encoding(data, language)
    assert choice
    assert data.decode(choice.name) == data.decode(codec)
    assert choice.note is None


@pytest.mark.parametrize(("language", "codec"), [pair for pair in CODECS if pair[1] not in OLD])
def test_letters_alone_tell_the_encoding_of_a_whole_feed(language: str, codec: str) -> None:
    data = lines(language, codec, 20)
    choice = guess_encoding(data, None)
    assert choice
    assert data.decode(choice.name) == data.decode(codec)


@pytest.mark.parametrize(
    ("language", "codec"), [("ru", "koi8_r"), ("tr", "cp1254"), ("ja", "euc_jp"), ("el", "cp1253")]
)
def test_another_language_than_the_mappings_is_told(language: str, codec: str) -> None:
    data = lines(language, codec, 20)
    choice = guess_encoding(data, "en")
    assert choice
    assert data.decode(choice.name) == data.decode(codec)
    assert choice.note
    assert "the mapping's language is en" in choice.note


def test_one_letter_is_western_and_said_to_be_a_guess() -> None:
    choice = guess_encoding("1,Caf\u00e9\n".encode("cp1252"), None)
    assert choice
    assert choice.name == "cp1252"
    assert "not certain" in (choice.note or "")


def test_bytes_that_make_no_words_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    noise = b"".join(b"%d,a\x01\x85\x9f\xae\xf7\xd7\x81\xb7 \xa6\xac\xbb\n" % i for i in range(50))
    path.write_bytes(b"id,title\n" + noise)
    with pytest.raises(FeedError, match="its letters make words in no other encoding; save it as UTF-8, or"):
        open_feed(path)


def test_the_mappings_encoding_is_used_and_doubted_where_it_makes_no_words(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(b"id,title\n" + lines("tr", "cp1254"))
    mapping = FeedMapping.model_validate({"catalog": {"language": "tr", "encoding": "windows-1254"}})
    report = clean_feed(path, mapping, tmp_path / "work").report
    assert (report.encoding, report.notes) == ("cp1254", [])
    wrong = FeedMapping.model_validate({"catalog": {"language": "tr", "encoding": "cp1251"}})
    report = clean_feed(path, wrong, tmp_path / "work").report
    assert report.encoding == "cp1251"
    assert "the letters make no words" in report.notes[0]


def test_a_named_encoding_of_what_is_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("id,title\n1,Größe\n")
    with pytest.raises(FeedError, match="is UTF-8, not cp1252; take encoding out of the mapping"):
        open_feed(path, encoding="cp1252")


def test_the_language_of_a_mapping_reaches_the_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(b"id,title\n" + lines("pl", "cp852"))
    report = clean_feed(path, FeedMapping.model_validate({"catalog": {"language": "pl"}}), tmp_path / "work").report
    assert (report.encoding, report.kept, report.notes) == ("cp852", 5, [])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("UTF-8", "utf-8"),
        ("windows-1254", "cp1254"),
        ("Shift_JIS", "cp932"),
        ("gb2312", "gb18030"),
        ("latin1", "cp1252"),
        ("EUC-KR", "cp949"),
        ("koi8-r", "koi8-r"),
        ("macintosh", "mac-roman"),
    ],
)
def test_names_of_encodings(given: str, name: str) -> None:
    assert codec_name(given) == name


@pytest.mark.parametrize("given", ["klingon", "base64", "rot13", "idna", "unicode_escape", "", "utf\0"])
def test_names_of_none(given: str) -> None:
    with pytest.raises(ValueError, match="is no text encoding"):
        codec_name(given)


def test_a_mapping_takes_its_encoding_on_top_too() -> None:
    assert FeedMapping.model_validate({"encoding": "koi8-r"}).catalog.encoding == "koi8-r"
    with pytest.raises(ValueError, match="is no text encoding"):
        FeedMapping.model_validate({"encoding": "klingon"})


def test_mixed_lines_leave_utf8_alone() -> None:
    from indexer.feed.survey import survey_bytes

    data = "1,Größe\n".encode() * 9 + "2,Größe\n".encode("cp1252")
    assert survey_bytes(io.BytesIO(data)).is_utf8


@pytest.mark.parametrize("codec", ["koi8_r", "cp1251", "iso8859_5"])
def test_capitals_are_told_by_how_frequent_letters_are(codec: str) -> None:
    data = "1,ЧАШКА ДЛЯ КОФЕ\n2,КРАСНАЯ РУБАШКА\n3,ЛОЖКА ДЕРЕВЯННАЯ\n4,ЧАЙНИК\n".encode(codec)
    choice = guess_encoding(data, "ru")
    assert choice
    assert choice.name == codec
