"""Words as lexical retrieval indexes and queries them: one analyser for products and queries."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import regex
import Stemmer

from core.strings import fold_text
from text.letters import plain
from text.names import ampersand, apostrophe, elided, initials, is_owner
from text.quantities import Quantity, between, dimensions, number, prepared, quantities
from text.scripts import has_unspaced, runs, segment
from text.stop_words import stop_words

# Primary language subtag (BCP 47): the Snowball algorithm.
_STEMMERS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish", "nl": "dutch",
    "en": "english", "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german",
    "el": "greek", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian",
    "lt": "lithuanian", "ne": "nepali", "nb": "norwegian", "nn": "norwegian", "no": "norwegian", "fa": "persian",
    "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
COMPOUNDING = {"de", "nl", "af", "sv", "da", "nb", "nn", "no"}
"""Primary subtags of languages that write compounds as one word and link their parts by few letters."""
_ELIDING = {"fr", "it", "ca"}

_CHARACTER = r"[\p{L}\p{N}\p{M}]"
_RUN = rf"[\p{{L}}\p{{N}}]{_CHARACTER}*"
# What stands within words, and what belongs to one at its end: C#, C++, A+.
_TOKEN = regex.compile(
    rf"(?<![\p{{L}}\p{{N}}\p{{M}}.])\.net(?!{_CHARACTER})"
    rf"|{_RUN}(?:['\-_./&]{_RUN})*(?:(?<=\p{{L}})(?:\#|\+{{1,3}})(?![\p{{L}}\p{{N}}\#+]))?"
)
_PIECE = regex.compile(_RUN)
_NUMBER = regex.compile(r"\p{N}")
_LETTERS_OR_DIGITS = regex.compile(r"\p{N}+|[\p{L}\p{M}]+")
_DIVIDED = regex.compile(r"[/_&]")
_SPACED_AND = regex.compile(r"(?<![\p{L}\p{N}\p{M}&.])(\p{L}{1,2}) ?& ?(\p{L}{1,2})(?![\p{L}\p{N}\p{M}&.])")
_SIGNED = regex.compile(r"(\p{L}{1,3})(?:\#|\++)|\.net")
# Letters and digits, but for sizes such as 34x80; or as many digits as a GTIN has.
_CODE = regex.compile(r"(?=.*\d)(?=.*\p{L})(?!\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)+$).{5,}|\d{8,}")
# No word is longer, and none has more parts: what is, is no word, and costs as much as many.
LONGEST_WORD = 100
_MOST_PARTS, _MOST_PIECES, _MOST_SIDES = 16, 8, 6


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text. It is found by its `term` as a whole, and in part by its `parts`, which are terms as well.

    Products hold the terms in `inside`, too, which queries ask for where they find nothing else. `unit` is a
    quantity's, else empty.
    """

    text: str
    term: str
    parts: tuple[str, ...] = ()
    stop: bool = False
    unit: str = ""
    inside: tuple[str, ...] = ()

    @property
    def has_digit(self) -> bool:
        """Whether it is a number, a size or a model number."""
        return any(character.isdigit() for character in self.term)

    @property
    def is_code(self) -> bool:
        """Whether it may be a model number or a GTIN, and is neither a quantity nor a size."""
        return not self.unit and _CODE.fullmatch(self.term) is not None

    @property
    def all_terms(self) -> tuple[str, ...]:
        """All terms that a product with this word holds."""
        return (self.term, *self.parts, *self.inside)


class Analyser:
    """Makes words of texts in one language (BCP 47), for one thread at a time: stemmers keep state.

    Words are stemmed where Snowball supports the language, Chinese is segmented, and other text without spaces is
    taken in pairs of characters. Quantities have one form (`text/quantities.py`); model numbers, words with hyphens
    and names with signs (`text/names.py`) are kept whole and in parts. The time is linear in the text's length.
    """

    def __init__(self, language: str) -> None:
        self.language = language.lower().replace("_", "-").split("-")[0]
        """The primary subtag."""
        self._stemmer = Stemmer.Stemmer(_STEMMERS[self.language]) if self.language in _STEMMERS else None
        self._stop_words = stop_words(self.language)

    def terms(self, text: str) -> list[str]:
        """All terms of a text as a query matches them, stop words among them."""
        return [term for word in self.words(text) for term in (word.term, *word.parts)]

    def words(self, text: str) -> list[Word]:
        """The words of a text in their order; a size such as 2 x 4 comes once more as a whole, after its numbers."""
        return list(self._words(self.prepared(text)))

    def prepared(self, text: str) -> str:
        """The text that words are taken from: each word's `text` stands in it, but for sizes as a whole."""
        return _SPACED_AND.sub(r"\1&\2", prepared(fold_text(text), self.language))

    def content(self, text: str) -> list[Word]:
        """The content words of a query: without stop words, unless there are no others; a single letter beside another
        is content, as in m a c."""
        words = self.words(text)
        single = [False, *(len(word.text) == 1 for word in words), False]
        beside = [
            here and (before or after) for before, here, after in zip(single, single[1:], single[2:], strict=False)
        ]
        return [
            word for word, beside_letter in zip(words, beside, strict=True) if beside_letter or not word.stop
        ] or words

    def term(self, word: str) -> str:
        """The term of one word of letters, in lower case."""
        return self._term(word)

    def is_stop_word(self, word: str) -> bool:
        """Whether a word in lower case is a stop word."""
        return word in self._stop_words

    def _words(self, text: str) -> Iterator[Word]:
        amounts = quantities(text)
        place = 0
        for quantity in amounts:
            if not between(gap := text[place : quantity.start]):
                yield from self._plain(gap)
            yield _quantity_word(quantity, text)
            place = quantity.end
        yield from self._plain(text[place:])
        for run in dimensions(amounts, text):
            if len(run) <= _MOST_SIDES:
                yield from _size_words(run)

    def _plain(self, text: str) -> Iterator[Word]:
        for token in _TOKEN.findall(text):
            if _NUMBER.search(token):
                for code in token.rstrip("#+").split("&"):
                    yield _code_word(code[:LONGEST_WORD])
            elif signed := _SIGNED.fullmatch(token):
                part = signed[1] or token[1:]
                yield Word(token, token, (self._term(part),))
            else:
                yield from self._letters(token.rstrip("#+"))

    def _letters(self, token: str) -> Iterator[Word]:
        if "&" in token and (name := ampersand(token)):
            yield self._named(token, *name)
            return
        for piece in _DIVIDED.split(token):
            if name := initials(piece):
                yield self._named(piece, *name)
            else:
                for word in piece.split("."):
                    yield from self._hyphened(word)

    def _hyphened(self, word: str) -> Iterator[Word]:
        pieces = [piece for piece in word.split("-") if piece]
        if 1 < len(pieces) <= _MOST_PIECES and not has_unspaced(word):
            parts = tuple(self._term(piece) for piece in pieces if len(piece) > 1)
            yield Word(word[:LONGEST_WORD], self._term("".join(pieces)), parts)
        else:
            for piece in pieces:
                yield from self._piece(piece)

    def _piece(self, piece: str) -> Iterator[Word]:
        for run, unspaced in runs(piece):
            if unspaced:
                for word, parts, inside in segment(run, self.language == "ja"):
                    yield Word(word, word, parts, word in self._stop_words, inside=inside)
            elif run := run.strip("'")[:LONGEST_WORD]:
                yield self._word(run)

    def _word(self, text: str) -> Word:
        stop = text in self._stop_words
        if "'" not in text:
            return Word(text, self._term(text), stop=stop, inside=self._unaccented(text))
        if self.language in _ELIDING and (elision := elided(text))[1]:
            word, whole = elision
            stop = word in self._stop_words
            return Word(word, self._term(word), (self._term(whole),), stop, inside=self._unaccented(word))
        whole, pieces = apostrophe(text)
        if is_owner(text):  # Levi's is also typed levis and levi
            pieces = (text[:-2],)
            if self.language == "en":  # as Snowball has it
                whole, pieces = text[:-2], (whole,)
        term = self._term(whole)
        parts = dict.fromkeys(self._term(piece) for piece in pieces)
        return Word(text, term, tuple(part for part in parts if part != term), stop)

    def _named(self, text: str, whole: str, pieces: tuple[str, ...]) -> Word:
        term = self._term(whole)
        parts = dict.fromkeys(map(self._term, pieces))
        return Word(text, term, tuple(part for part in parts if part != term))

    def _unaccented(self, word: str) -> tuple[str, ...]:
        """The term of the word as it is typed without accents, where it is another one: stems go by accents."""
        if word.isascii() or (bare := plain(word)) == word:
            return ()
        other = self._term(bare)
        return (other,) if other != self._term(word) else ()

    def _term(self, word: str) -> str:
        word = word.replace("'", "")[:LONGEST_WORD] or word
        return plain(self._stemmer.stemWord(word) if self._stemmer else word) or word


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
    return Word(token, whole, tuple(parts)[:_MOST_PARTS])
