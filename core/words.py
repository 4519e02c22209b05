"""Words as lexical retrieval indexes and asks for them: one analyser for products and queries."""

import itertools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import regex
import rjieba
import Stemmer
from bm25s import stopwords

from core.quantities import Quantity, between, dimensions, number, prepared, quantities
from core.text import fold_text

# Primary language subtag (BCP 47): the Snowball algorithm.
_STEMMERS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish", "nl": "dutch",
    "en": "english", "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german",
    "el": "greek", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian",
    "lt": "lithuanian", "ne": "nepali", "nb": "norwegian", "nn": "norwegian", "no": "norwegian", "fa": "persian",
    "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
_STOP_WORDS = {
    "zh": stopwords.STOPWORDS_CHINESE, "da": stopwords.STOPWORDS_DANISH, "nl": stopwords.STOPWORDS_DUTCH,
    "en": stopwords.STOPWORDS_EN, "fr": stopwords.STOPWORDS_FRENCH, "de": stopwords.STOPWORDS_GERMAN,
    "it": stopwords.STOPWORDS_ITALIAN, "ko": stopwords.STOPWORDS_KOREAN, "nb": stopwords.STOPWORDS_NORWEGIAN,
    "nn": stopwords.STOPWORDS_NORWEGIAN, "no": stopwords.STOPWORDS_NORWEGIAN, "pt": stopwords.STOPWORDS_PORTUGUESE,
    "ru": stopwords.STOPWORDS_RUSSIAN, "es": stopwords.STOPWORDS_SPANISH, "sv": stopwords.STOPWORDS_SWEDISH,
    "tr": stopwords.STOPWORDS_TURKISH,
}  # fmt: skip
_ELIDING = {"fr", "it", "ca"}

_CHARACTER = r"[\p{L}\p{N}\p{M}]"
_TOKEN = regex.compile(rf"{_CHARACTER}+(?:['\-_./]{_CHARACTER}+)*")
_PIECE = regex.compile(rf"{_CHARACTER}+")
_LETTERS_OR_DIGITS = regex.compile(r"\p{N}+|[\p{L}\p{M}]+")
_ELISION = regex.compile(r"^(?:\p{L}|qu|dell|nell|sull|dall|all)'")
_UNSPACED = regex.compile(
    r"([\p{Han}\p{Hiragana}\p{Katakana}ー々]+|\p{Thai}+|\p{Lao}+|\p{Khmer}+|\p{Myanmar}+|\p{Hangul}+)"
)
_HAN = regex.compile(r"\p{Han}+")
# Letters and digits, but for sizes such as 34x80; or as many digits as a GTIN has.
_CODE = regex.compile(r"(?=.*\d)(?=.*\p{L})(?!\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)+$).{5,}|\d{8,}")
_LATIN_OR_GREEK_MARKS = regex.compile(r"(?<=[\p{Latin}\p{Greek}])\p{M}+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text. It is found by its `term` as a whole, and in part by its `parts`, which are terms as well.

    `unit` is a quantity's, else empty.
    """

    text: str
    term: str
    parts: tuple[str, ...] = ()
    stop: bool = False
    unit: str = ""

    @property
    def has_digit(self) -> bool:
        """Whether it is a number, a size or a model number."""
        return any(character.isdigit() for character in self.term)

    @property
    def is_code(self) -> bool:
        """Whether it may be a model number or a GTIN, and is neither a quantity nor a size."""
        return not self.unit and _CODE.fullmatch(self.term) is not None


class Analyser:
    """Makes words of texts in one language (BCP 47), for one thread at a time: stemmers keep state.

    Words are stemmed where Snowball knows the language, Chinese is segmented, and what else is written without spaces
    is taken in pairs of characters. Quantities have one form (`core/quantities.py`); model numbers and words with
    hyphens are kept whole and in parts.
    """

    def __init__(self, language: str) -> None:
        primary = language.lower().replace("_", "-").split("-")[0]
        self._primary = primary
        self._stemmer = Stemmer.Stemmer(_STEMMERS[primary]) if primary in _STEMMERS else None
        self._stop_words = frozenset(_STOP_WORDS.get(primary, ()))

    def terms(self, text: str) -> list[str]:
        """All terms of a text, stop words among them."""
        return [term for word in self.words(text) for term in (word.term, *word.parts)]

    def words(self, text: str) -> list[Word]:
        """The words of a text in their order; a size such as 2 x 4 comes once more as a whole, after its numbers."""
        return list(self._words(prepared(fold_text(text))))

    def content(self, text: str) -> list[Word]:
        """The words of a query that say something: without stop words, unless there are no others."""
        words = self.words(text)
        return [word for word in words if not word.stop] or words

    def _words(self, text: str) -> Iterator[Word]:
        found = quantities(text)
        place = 0
        for quantity in found:
            if not between(gap := text[place : quantity.start]):
                yield from self._plain(gap)
            yield _quantity_word(quantity, text)
            place = quantity.end
        yield from self._plain(text[place:])
        for run in dimensions(found, text):
            yield from _size_words(run)

    def _plain(self, text: str) -> Iterator[Word]:
        for token in _TOKEN.findall(text):
            if any(character.isnumeric() for character in token):
                yield _code_word(token)
            else:
                yield from self._letters(token)

    def _letters(self, token: str) -> Iterator[Word]:
        if self._primary in _ELIDING:
            token = _ELISION.sub("", token)
        for joined in regex.split(r"[./_]", token):
            pieces = joined.split("-")
            if len(pieces) > 1 and all(_alphabetic(piece) for piece in pieces):
                parts = tuple(self._term(piece) for piece in pieces if len(piece) > 1)
                yield Word(joined, self._term("".join(pieces)), parts)
            else:
                for piece in pieces:
                    yield from self._piece(piece)

    def _piece(self, piece: str) -> Iterator[Word]:
        for run in _UNSPACED.split(piece):
            if not run:
                continue
            if _UNSPACED.fullmatch(run):
                yield from self._unspaced(run)
            else:
                yield Word(run, self._term(run), stop=run in self._stop_words)

    def _unspaced(self, run: str) -> Iterator[Word]:
        """Chinese by its words, whose characters in pairs are parts of long ones; the rest in pairs."""
        if _HAN.fullmatch(run) and self._primary != "ja":
            for word in rjieba.cut(run, True):
                yield Word(word, word, _pairs(word) if len(word) > 2 else (), stop=word in self._stop_words)
        elif len(run) <= 2:
            yield Word(run, run, stop=run in self._stop_words)
        else:
            for pair in _pairs(run):
                yield Word(pair, pair)

    def _term(self, word: str) -> str:
        stem = self._stemmer.stemWord(word) if self._stemmer else word
        return plain(stem).strip("'") or word


def plain(word: str) -> str:
    """Latin and Greek letters without their accents."""
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _LATIN_OR_GREEK_MARKS.sub("", unicodedata.normalize("NFD", word)))


def is_unspaced(text: str) -> bool:
    """Whether all of it is of scripts that write no spaces between words."""
    return _UNSPACED.fullmatch(text) is not None


def _quantity_word(quantity: Quantity, text: str) -> Word:
    parts = (number(quantity.value),) if quantity.unit else ()
    return Word(text[quantity.start : quantity.end], quantity.term, parts, unit=quantity.unit)


def _size_words(run: tuple[Quantity, ...]) -> Iterator[Word]:
    """A size of three as a whole and each two of it that stand side by side: a 4 x 8 sheet is also 5/8 x 4 x 8."""
    numbers = [number(quantity.value) for quantity in run]
    parts = tuple("x".join(pair) for pair in itertools.pairwise(numbers)) if len(numbers) > 2 else ()
    whole = "x".join(numbers)
    yield Word(whole, whole, parts)


def _code_word(token: str) -> Word:
    pieces = _PIECE.findall(plain(token))
    runs = [run for piece in pieces for run in _LETTERS_OR_DIGITS.findall(piece)]
    whole = "".join(pieces)
    parts = dict.fromkeys(part for part in (*pieces, *runs) if len(part) > 1 and part != whole)
    return Word(token, whole, tuple(parts))


def _pairs(text: str) -> tuple[str, ...]:
    return tuple(text[i : i + 2] for i in range(len(text) - 1))


def _alphabetic(piece: str) -> bool:
    return not _UNSPACED.search(piece)
