"""The text encoding of a feed: where it is not UTF-8, by the words that its bytes make, and the mapping's language."""

import codecs
import re
from collections import Counter
from dataclasses import dataclass, replace

from core.errors import FeedError
from core.strings import quoted
from indexer.feed.alphabets import ALPHABETS, Alphabet, Triple, alphabet_of
from indexer.feed.source import FeedSource, feed_errors
from indexer.feed.survey import survey_bytes

# Encodings whose everyday files are written in a larger one, as browsers read them (the Encoding Standard of WHATWG).
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "cp950",
    "euc_kr": "cp949",
}
_ALIASES = {"ansi": "cp1252", "macintosh": "mac_roman", "x-mac-cyrillic": "mac_cyrillic", "utf-8-bom": "utf-8-sig"}
# Text for machines, not for people.
_TECHNICAL = ("idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "utf_7")

# The mean fit (-3 to 1) of text in its own language: certain from the first on, another language's below the second.
_SURE, _LEAST = 0.5, 0.25
# What speaks against a reading before its letters do, in characters: each codec that its language uses more, a language
# that fewer feeds without a mapping are in, and a language that is not the mapping's. Also by how much such a one must
# fit better.
_PER_CODEC, _PER_LANGUAGE, _NOT_THE_MAPPINGS, _CLEARLY_BETTER = 0.5, 3.0, 6.0, 0.25
# Of a DOS or Macintosh, which nobody uses any more: considered for the mapping's language alone.
_OLD = re.compile("mac_(?!roman$|cyrillic$)|cp(?!866$|874$|9)[4789]")
_KANA = re.compile("[\u3041-\u30fa]")
# Letters that suffice to detect a language.
_FEW = 12


@dataclass(frozen=True, slots=True)
class DetectedEncoding:
    """A codec's name, and a sentence for people where it is not certain."""

    name: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    codec: str
    alphabet: Alphabet
    fit: float
    weighed: float


def codec_name(name: str) -> str:
    """Python's name of a text encoding, in the larger form that files use. Raises ValueError for none."""
    try:
        info = codecs.lookup(_ALIASES.get(name.strip().casefold(), name.strip()))
    except (LookupError, ValueError):
        info = None
    if info is None or info.name.replace("-", "_") in _TECHNICAL or not getattr(info, "_is_text_encoding", True):
        raise ValueError(f"{quoted(name)} is no text encoding; such as utf-8, cp1252, cp1251, cp932, gb18030")
    return _LARGER.get(info.name, info.name)


class _Sample:
    """Some bytes, and the characters between their neighbours that a codec makes of them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.high = sum(byte >= 0x80 for byte in data)
        self._triples: dict[str, Counter[Triple]] = {}

    def text(self, codec: str) -> str:
        return self.data.decode(codec, "replace")

    def fit(self, codec: str, alphabet: Alphabet) -> float:
        """The mean fit of the characters beyond ASCII in a language."""
        counts = self._counts(codec)
        total = counts.total()
        return sum(alphabet.fit(triple) * count for triple, count in counts.items()) / total if total else 0.0

    def count(self, codec: str) -> int:
        """The number of characters beyond ASCII."""
        return self._counts(codec).total()

    def _counts(self, codec: str) -> Counter[Triple]:
        if codec not in self._triples:
            text = self.text(codec)
            triples = zip(" " + text, text, text[1:] + " ", strict=False)
            self._triples[codec] = Counter(triple for triple in triples if not triple[1].isascii())
        return self._triples[codec]


def detect_encoding(source: FeedSource, language: str | None, named: str | None) -> DetectedEncoding:
    """The encoding of the source's whole text; `named` is the mapping's.

    Raises FeedError where none fits, or where text in UTF-8 is named otherwise.
    """
    path = source.path
    stream = source.rewind()
    with feed_errors(path):
        survey = survey_bytes(stream)
    if survey.certain:
        differs = named is not None and named.split("-")[:2] != survey.certain.split("-")[:2]
        note = f"the mapping says {named}, the file's mark {survey.certain}" if differs else None
        return DetectedEncoding(survey.certain, note)
    if named:
        if named not in ("utf-8", "utf-8-sig") and survey.utf8 and not survey.other:
            raise FeedError(f"{path}: is UTF-8, not {named}; take encoding out of the mapping")
        return DetectedEncoding(named, encoding_warning(survey.sample, named, language) if survey.other else None)
    if survey.is_utf8:
        return DetectedEncoding("utf-8")
    guess = guess_encoding(survey.sample, language)
    if guess is None:
        raise FeedError(
            f"{path}: is not UTF-8, and its letters make words in no other encoding; save it as UTF-8, or set "
            f"encoding{'' if language else ' or language'} in the mapping's [catalog]"
        )
    return guess


def guess_encoding(lines: bytes, language: str | None) -> DetectedEncoding | None:
    """The encoding of lines that are not UTF-8, or None where the bytes make words in none.

    Candidates are those of the language where one is given; another language's are taken only where its letters fit
    clearly better.
    """
    sample = _Sample(lines)
    own = alphabet_of(language) if language else None
    expected = _best_reading(sample, own, 0.0) if own else None
    others = [
        _best_reading(sample, alphabet, _language_penalty(alphabet), other=True) for alphabet in ALPHABETS.values()
    ]
    best = max(others, key=lambda reading: reading.weighed)  # of equals the first
    clear = best.weighed - _NOT_THE_MAPPINGS / max(1, sample.count(best.codec)) - _CLEARLY_BETTER
    if expected and expected.fit >= max(_LEAST, clear):
        return DetectedEncoding(expected.codec, None if expected.fit >= _SURE else _uncertainty_note(sample, expected))
    if best.fit < _LEAST:
        few = expected or best
        return DetectedEncoding(few.codec, _uncertainty_note(sample, few)) if sample.high < _FEW else None
    if own and best.alphabet is not own:
        note = f"{_describe_reading(sample, best)}, while the mapping's language is {language}; see that it is right"
        return DetectedEncoding(best.codec, note)
    certain = best.fit >= _SURE and sample.high >= _FEW
    return DetectedEncoding(best.codec, None if certain else _uncertainty_note(sample, best))


def encoding_warning(lines: bytes, codec: str, language: str | None) -> str | None:
    """A sentence for people where bytes in the codec that the mapping names make no words, of its language if given."""
    sample = _Sample(lines)
    own = alphabet_of(language) if language else None
    if any(sample.fit(codec, alphabet) >= _LEAST for alphabet in ([own] if own else ALPHABETS.values())):
        return None
    words = [word for word in sample.text(codec).split() if not word.isascii()]
    return f"in {codec}, the mapping's encoding, the letters make no words ({' '.join(words[:3])[:60]})"


def _language_penalty(alphabet: Alphabet) -> float:
    return 0.0 if alphabet.codecs[0] == "cp1252" else _PER_LANGUAGE


def _best_reading(sample: _Sample, alphabet: Alphabet, penalty: float, other: bool = False) -> _Reading:
    """The best of a language's codecs; where it is not the mapping's, of those that are still in use."""
    readings = []
    for place, codec in enumerate(alphabet.codecs):
        if not other or not _OLD.match(codec):
            fit = sample.fit(codec, alphabet)
            weighed = fit - (penalty + place * _PER_CODEC) / max(1, sample.count(codec))
            readings.append(_Reading(codec, alphabet, fit, weighed))
    best = max(readings, key=lambda reading: reading.weighed)
    if other and alphabet.code == "ja" and not _KANA.search(sample.text(best.codec)):
        return replace(best, fit=best.fit / 2, weighed=best.weighed / 2)  # Han alone is Chinese, or Korean read wrongly
    return best


def _describe_reading(sample: _Sample, reading: _Reading) -> str:
    words = [word for word in sample.text(reading.codec).split() if not word.isascii()]
    return f"read as {reading.codec}: the letters look {reading.alphabet.name} ({' '.join(words[:3])[:60]})"


def _uncertainty_note(sample: _Sample, reading: _Reading) -> str:
    return (
        f"{_describe_reading(sample, reading)}, which is not certain; "
        "if it is wrong, set encoding in the mapping's [catalog]"
    )
