"""Letters as words are compared by: what is typed in several ways is written in one."""

import unicodedata

import regex

# Apostrophes, primes, grave and acute accents that stand alone, the Hebrew geresh: typed one for another.
_APOSTROPHES = "`\u00b4\u02b9\u02bb\u02bc\u02bd\u055a\u05f3\u2018\u2019\u201b\u2032\u2035\ua78c\uff07"
_QUOTES = "\u05f4\u201c\u201d\u201f\u2033\uff02"
_TYPED = str.maketrans(
    dict.fromkeys(_APOSTROPHES, "'") | dict.fromkeys(_QUOTES, '"') | {"\u00d7": "x", "\u2044": "/", "\u0130": "i"}
)
# Turkish and Azerbaijani: I is the capital of the dotless i.
_DOTLESS = {"tr", "az"}
_CAPITALS = str.maketrans({"I": "\u0131", "\u0130": "i"})
# Undecomposable Latin letters, as they are typed without their stroke.
_BARE = str.maketrans(
    {
        "\u0131": "i",
        "\u0142": "l",
        "\u00f8": "o",
        "\u0111": "d",
        "\u00f0": "d",
        "\u00e6": "ae",
        "\u0153": "oe",
        "\u00fe": "th",
        "\u0127": "h",
        "\u0167": "t",
        "\u014b": "n",
        "\u0138": "q",
        "\u0451": "\u0435",
    }
)


def _same_letters() -> dict[int, str | None]:
    """Letters that shoppers and feeds write one for another, and marks that most of them leave out."""
    dropped = [0x200C, 0x200D, 0x0640, *range(0xFE00, 0xFE10)]  # joiners, the tatweel, variation selectors
    dropped += [*range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7]  # Hebrew points
    dropped += [*range(0x0610, 0x061B), *range(0x064B, 0x0660), 0x0670, *range(0x06D6, 0x06DD)]  # Arabic vowels
    dropped += [0x093C, 0x0A3C, 0x0ABC]  # the nukta
    same = {
        "\u0627": "\u0622\u0623\u0625\u0671",  # alef
        "\u0648": "\u0624",  # waw
        "\u064a": "\u0649\u0626\u06cc",  # yeh
        "\u0647": "\u0629\u06c1\u06c0\u06c2\u06d5",  # heh
        "\u0643": "\u06a9",  # kaf
        ".": "\u066b",
        ",": "\u066c",
        "%": "\u066a",
        "\u0928": "\u0929",
        "\u0930": "\u0931",
        "\u0933": "\u0934",
        "\u0902": "\u0901",  # the candrabindu
    }
    return dict.fromkeys(dropped) | {ord(letter): to for to, letters in same.items() for letter in letters}


_SAME = _same_letters()
_OTHER_DIGIT = regex.compile(r"(?![0-9])\p{Nd}")
_MARKS = regex.compile(r"(?<=[\p{Latin}\p{Greek}])\p{M}+")
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\u3005\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Hangul}"
"""Scripts without spaces, for a set of a regular expression."""
_SPACES = regex.compile(r"\s+")
# They change a Hebrew letter's sound or mark an acronym.
_GERESH = regex.compile(r"(?<=\p{Hebrew})['\"]+")
_BORDER = regex.compile(rf"(?<=[{UNSPACED}])(?=[\p{{N}}\p{{Latin}}])|(?<=[\p{{N}}\p{{Latin}}])(?=[{UNSPACED}])")


def lowered(text: str, language: str = "") -> str:
    """The text in lower case, as the language (a primary subtag of BCP 47) has it; typed signs have one form."""
    if language in _DOTLESS:
        text = text.translate(_CAPITALS)
    if text.isascii():
        return text.lower().replace("`", "'")
    return text.translate(_TYPED).casefold()


def same_letters(text: str) -> str:
    """Lower-case text in NFKC: digits are ASCII's, letters that are written one for another are one, marks that most
    leave out are gone, and scripts without spaces stand apart from other letters and numbers."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SAME)
    text = _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)
    return _SPACES.sub(" ", _BORDER.sub(" ", _GERESH.sub("", text)))


def plain(word: str) -> str:
    """Latin and Greek letters without their accents and strokes."""
    if word.isascii():
        return word
    bare = _MARKS.sub("", unicodedata.normalize("NFD", word.translate(_BARE)))
    return unicodedata.normalize("NFC", bare)
