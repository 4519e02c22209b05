"""Words of scripts that are written without spaces."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

import regex

from core.errors import MissingPackageError
from text.letters import UNSPACED

_RUNS = regex.compile(
    r"([\p{Han}\p{Hiragana}\p{Katakana}\u30fc\u3005]+|\p{Thai}+|\p{Lao}+|\p{Khmer}+|\p{Myanmar}+|\p{Hangul}+)"
)
_HAN = regex.compile(r"\p{Han}+")
HAN_RANGES = (("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\U00020000", "\U000323af"))
"""The first and the last character of the blocks of Han, in the order of code points."""
# Signs that mean something alone: characters of Han, and syllables of Hangul.
_SIGN = regex.compile(r"\p{Han}|\p{Hangul}")
_ANY = regex.compile(rf"[{UNSPACED}]")
# No Chinese word is longer: the segmenter takes an unknown string for one.
_LONGEST_WORD = 8
Piece = tuple[str, tuple[str, ...], tuple[str, ...]]


def has_unspaced(text: str) -> bool:
    """Whether any of it is of a script without spaces."""
    return not text.isascii() and _ANY.search(text) is not None


def is_unspaced(text: str) -> bool:
    """Whether all of it is of scripts without spaces."""
    return _RUNS.fullmatch(text) is not None


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """The text's runs of one script without spaces, and what is between; whether each is such a run."""
    if not has_unspaced(text):
        yield text, False
        return
    for place, run in enumerate(_RUNS.split(text)):
        if run:
            yield run, place % 2 == 1


def segment(run: str, japanese: bool) -> Iterator[Piece]:
    """Words of one run, each with its parts and with the signs inside it.

    Chinese comes by its words, whose characters in pairs are parts of long ones; the rest in pairs, and Chinese too
    where its segmenter is not installed: see `check_segmenter`.
    """
    if not japanese and _HAN.fullmatch(run) and (cut := _segmenter()) is not None:
        for word in cut(run, True):
            if len(word) > _LONGEST_WORD:
                yield from _in_pairs(word)
            else:
                yield word, _pairs(word) if len(word) > 2 else (), _signs(word)
    else:
        yield from _in_pairs(run)


def check_segmenter(terms: Iterable[str], language: str) -> None:
    """Raises MissingPackageError where terms of a catalog are Chinese words and the segmenter is not installed.

    `language` is the catalog's primary subtag. A query that is read in pairs would not find such terms.
    """
    if language != "ja" and any(_HAN.match(term) for term in terms) and _segmenter() is None:
        raise MissingPackageError("a catalog with Chinese words", "chinese")


@cache
def _segmenter() -> Callable[[str, bool], list[str]] | None:
    """What splits Chinese into words; loading it takes a sixth of a second. None where it is not installed."""
    try:
        import rjieba
    except ModuleNotFoundError:
        return None
    return rjieba.cut


def _in_pairs(run: str) -> Iterator[Piece]:
    if len(run) <= 2:
        yield run, (), _signs(run)
        return
    for place, pair in enumerate(_pairs(run)):
        yield pair, (), _signs(pair[0] if place < len(run) - 2 else pair, single=True)


def _pairs(text: str) -> tuple[str, ...]:
    return tuple(text[i : i + 2] for i in range(len(text) - 1))


def _signs(word: str, single: bool = False) -> tuple[str, ...]:
    return tuple(_SIGN.findall(word)) if single or len(word) > 1 else ()
