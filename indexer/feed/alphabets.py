"""The letters of languages, how well a text fits them, and their old encodings."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

_WESTERN = ("cp1252", "iso8859_15", "mac_roman", "cp850", "cp437")
_CENTRAL = ("cp1250", "iso8859_2", "mac_latin2", "cp852")
_TURKIC = ("cp1254", "iso8859_9", "mac_turkish", "cp857")
_BALTIC = ("cp1257", "iso8859_13", "iso8859_4", "cp775")
_CYRILLIC = ("cp1251", "koi8_r", "koi8_u", "iso8859_5", "mac_cyrillic", "cp866", "cp855")
_ARABIC = ("cp1256", "iso8859_6", "cp720")
_MARKS = "\u0300\u0301\u0303\u0309\u0323"

# Name, codecs in the order of preference, letters beyond ASCII: in Latin script all that a language adds, in other
# scripts its alphabet by falling frequency.
_LETTERS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "en": ("English", _WESTERN, "éèêëàâäáåçñïîíóôöøüûúæœ"),
    "de": ("German", _WESTERN, "äöüßéèàê"),
    "fr": ("French", _WESTERN, "éèêëàâæçîïôœùûüÿ"),
    "es": ("Spanish", _WESTERN, "áéíóúüñç"),
    "it": ("Italian", _WESTERN, "àèéìíîòóùú"),
    "pt": ("Portuguese", (*_WESTERN, "cp860"), "ãáàâçéêíõóôúü"),
    "ca": ("Catalan", _WESTERN, "àçéèíïóòúü"),
    "nl": ("Dutch", _WESTERN, "éëïóöüèêáä"),
    "sv": ("Swedish", _WESTERN, "åäöéü"),
    "fi": ("Finnish", _WESTERN, "äöåšžé"),
    "da": ("Danish", (*_WESTERN, "cp865"), "æøåéü"),
    "nb": ("Norwegian", (*_WESTERN, "cp865"), "æøåéèêóòâô"),
    "is": ("Icelandic", (*_WESTERN, "cp861"), "áðéíóúýþæö"),
    "ga": ("Irish", _WESTERN, "áéíóú"),
    "pl": ("Polish", _CENTRAL, "ąćęłńóśźż"),
    "cs": ("Czech", _CENTRAL, "áčďéěíňóřšťúůýž"),
    "sk": ("Slovak", _CENTRAL, "áäčďéíĺľňóôŕšťúýž"),
    "hu": ("Hungarian", _CENTRAL, "áéíóöőúüű"),
    "sl": ("Slovene", _CENTRAL, "čšž"),
    "hr": ("Croatian", (*_CENTRAL, "mac_croatian"), "čćđšž"),
    "ro": ("Romanian", ("cp1250", "iso8859_16", "iso8859_2", "mac_romanian", "cp852"), "ăâîșşțţ"),
    "sq": ("Albanian", _WESTERN, "ëç"),
    "tr": ("Turkish", _TURKIC, "ıişçğüöâîû\u0307"),
    "lt": ("Lithuanian", _BALTIC, "ąčęėįšųūž"),
    "lv": ("Latvian", _BALTIC, "āčēģīķļņšūžō"),
    "et": ("Estonian", (*_BALTIC, "cp1252", "iso8859_15"), "äöüõšž"),
    "vi": ("Vietnamese", ("cp1258",), "ăâđêôơưáàéèíóòúùýãõ" + _MARKS),
    "ru": ("Russian", _CYRILLIC, "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"),
    "uk": ("Ukrainian", ("cp1251", "koi8_u", *_CYRILLIC[3:]), "оаинітервслкдупмяьзгбчйхїжшюєцщфґ"),
    "be": ("Belarusian", _CYRILLIC, "анаеіорстлкдвпмяыузьцгбчйўхжшюэфё"),
    "bg": ("Bulgarian", _CYRILLIC, "аиоентрсвлкдпмзъугчбяцжщшйхфюь"),
    "sr": ("Serbian", _CYRILLIC, "аоиенртјсквудплмзгбчцшћжљхњфђџ"),
    "mk": ("Macedonian", _CYRILLIC, "аоиентрсвклдпмузгбјчцшжхќњфљѓџѕ"),
    "el": ("Greek", ("cp1253", "iso8859_7", "mac_greek", "cp737", "cp869"), "αοιετσνηυρπκμλςίόάγέήδώχθφύβξζψϊϋΐΰ"),
    "he": ("Hebrew", ("cp1255", "iso8859_8", "cp862"), "יוהלארמתבשנדעםקכטחפסגןצזךףץ"),
    "ar": ("Arabic", _ARABIC, "اليمنرتبودعةفسكقحجشصطىخضزأغذثظءإئؤآ"),
    "fa": ("Persian", _ARABIC, "ایرندمهوتبسشزگکلفخقپعجحچيآصطضغئژذثظكءأؤة"),
    "th": (
        "Thai",
        ("cp874", "tis_620"),
        "านรกอเงมยลวดตสทปขคบพหแไจชคถซผโใธศณภฟฐฉษญึฝฬฮฆฎฏฑฒฌฃฅฤ\u0e31\u0e48\u0e49\u0e34\u0e35\u0e38\u0e39\u0e37\u0e47\u0e4c\u0e30\u0e33",
    ),
    # Before Chinese: any Korean text is common Chinese in gb18030, but hardly the other way round.
    "ko": ("Korean", ("cp949", "johab"), ""),
    "ja": ("Japanese", ("cp932", "euc_jp", "euc_jis_2004"), ""),
    "zh": ("Chinese", ("gb18030", "cp950", "big5hkscs"), ""),
}
_SAME_LETTERS = {
    "no": "nb",
    "nn": "nb",
    "gl": "es",
    "eu": "es",
    "bs": "hr",
    "az": "tr",
    "iw": "he",
    "yue": "zh",
    "ur": "fa",
}
_LATIN = frozenset(code for code, (_, _, letters) in _LETTERS.items() if letters and letters[0] < "\u0250")

# Signs of any language: no evidence against one, and little for it.
_SIGNS = frozenset("–—‘’“”„‚‹›«»…•·°®™©€£§×÷±½¼¾²³¹µªº¿¡´¨\u00a0\u00ad№†‡−→≥≤≈Øø″′☆★●※￥¥")
# Letters of brands and loans that stand in any Latin text.
_LOANS = frozenset("éèêëàâäáåãçñïîíóôöõøüûúæß")
_JOINERS = frozenset("’'-‑–·\u00ad´`/&.")
_COMMON, _RARE, _SIGN, _LOAN, _FOREIGN, _BROKEN = 1.0, 0.4, 0.6, 0.1, -1.0, -3.0
_CAPITALS = 0.95  # words in capitals are rarer, and a wrong codec often makes them

Triple = tuple[str, str, str]  # a character between its neighbours


@dataclass(frozen=True, slots=True)
class Alphabet:
    """A language: its codecs, and how well a character, given its neighbours, fits its texts (-3 to 1)."""

    code: str
    name: str
    codecs: tuple[str, ...]
    fit: Callable[[Triple], float]


def _make_fit(code: str, letters: str) -> Callable[[Triple], float]:
    if code in ("ja", "zh", "ko"):
        return {"ja": _fit_japanese, "zh": _fit_chinese, "ko": _fit_korean}[code]
    latin, western = code in _LATIN, _LETTERS[code][1][0] == "cp1252"
    known_fit = _RARE + 0.2 if code == "en" else _COMMON  # English has few such letters
    weights = {char: known_fit if latin else _weight(place, len(letters)) for place, char in enumerate(letters)}

    def fit(triple: Triple) -> float:
        before, char, after = triple
        if (broken := _broken(triple)) is not None:
            return broken
        if not char.isalpha() and unicodedata.category(char)[0] != "M":
            return _sign(triple) if latin else min(_sign(triple), _RARE)
        # A word is of one script, and in Latin script few have three letters beyond ASCII in a row.
        if not latin and (_ascii_letter(before) or _ascii_letter(after)):
            return _FOREIGN
        if _misplaced(triple):
            return _FOREIGN
        if latin and _beyond_ascii(before) and _beyond_ascii(after):
            return _FOREIGN if western else _LOAN
        folded = char.casefold()
        known = [weights[char]] if char in weights else [weights.get(c) for c in folded]
        if None not in known:
            capitals = char.isupper() and before.isupper()
            return min(weight for weight in known if weight is not None) * (_CAPITALS if capitals else 1)
        return _LOAN if latin and (folded in _LOANS or char in _LOANS) else _FOREIGN

    return fit


def _weight(place: int, count: int) -> float:
    """1.1 for the most frequent letter of an alphabet, falling to 0 for the rarest."""
    return 1.1 * (1 - place / count)


def _broken(triple: Triple) -> float | None:
    char = triple[1]
    if char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs"):
        return _BROKEN
    return None


def _sign(triple: Triple) -> float:
    before, char, after = triple
    if char not in _SIGNS:
        return _FOREIGN
    if before.isalpha() and after.isalpha() and char not in _JOINERS:
        return _FOREIGN
    return _LOAN if before in _SIGNS and before != "\u00a0" else _SIGN


def _misplaced(triple: Triple) -> bool:
    """A capital inside a word, a final letter before another one, a mark or a Thai vowel without its consonant."""
    before, char, after = triple
    if char.isupper() and before.islower():
        return True
    if char in "ךםןףץς" and after.isalpha():
        return True
    if "\u0e40" <= char <= "\u0e44":
        return not "\u0e01" <= after <= "\u0e2e"
    return unicodedata.category(char) == "Mn" and not (before.isalpha() or unicodedata.category(before) == "Mn")


def _ascii_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _beyond_ascii(char: str) -> bool:
    return not char.isascii() and char.isalpha()


def _fit_japanese(triple: Triple) -> float:
    char = triple[1]
    if "\u3041" <= char <= "\u3096" or char == "ー":
        return _COMMON
    if "\u30a1" <= char <= "\u30fa":
        return 0.9
    if "\uff61" <= char <= "\uff9f":
        return _FOREIGN / 2
    return _fit_han(triple, "euc_jp", 0xB0, 0xCF)


def _fit_chinese(triple: Triple) -> float:
    return max(_fit_han(triple, "gb2312", 0xB0, 0xD7), _fit_han(triple, "big5", 0xA4, 0xC6))


def _fit_korean(triple: Triple) -> float:
    char = triple[1]
    if "\uac00" <= char <= "\ud7a3":
        return _COMMON if _first_byte(char, "euc_kr") else _FOREIGN / 2
    return _RARE / 2 if "\u4e00" <= char <= "\u9fff" else _fit_han(triple, "euc_kr", 0, 0)


def _fit_han(triple: Triple, codec: str, low: int, high: int) -> float:
    """National standards put their common characters first, in the rows from `low` to `high`."""
    char = triple[1]
    if "\u4e00" <= char <= "\u9fff":
        return _COMMON if low <= _first_byte(char, codec) <= high else _FOREIGN / 2
    if (broken := _broken(triple)) is not None:
        return broken
    if "\u3000" <= char <= "\u301f" or "\uff01" <= char <= "\uff5e" or char in "・々〆ヶ":
        return _SIGN
    return _sign(triple)


def _first_byte(char: str, codec: str) -> int:
    try:
        encoded = char.encode(codec)
    except UnicodeEncodeError:
        return 0
    return encoded[0] if len(encoded) == 2 else 0  # euc_kr spells rare syllables in eight bytes


ALPHABETS = {
    code: Alphabet(code, name, codecs, _make_fit(code, letters)) for code, (name, codecs, letters) in _LETTERS.items()
}


def alphabet_of(language: str) -> Alphabet | None:
    """The alphabet of a language tag (BCP 47), or None for a language without an old encoding."""
    code = language.casefold().replace("_", "-").split("-")[0]
    return ALPHABETS.get(_SAME_LETTERS.get(code, code))
