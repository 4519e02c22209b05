"""Evidence for the encoding of a text file, from all of its bytes."""

import codecs
import re
from dataclasses import dataclass
from typing import IO

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_HIGH = bytes(range(0x80, 0x100))
# Longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Encodings of seven bits, detected by their escapes between alphabets.
_ESCAPES = ((b"\x1b$B", "iso2022_jp_2"), (b"\x1b$@", "iso2022_jp_2"), (b"\x1b$)C", "iso2022_kr"))
# So many times as many letters as wrong bytes are UTF-8 whose texts were cut inside letters.
_UTF8_TIMES = 2
_LEAST_ZEROS, _MOST = 4, 0.9
# A zero at the wrong place of UTF-16 in so many at the right one is none.
_STRAY = 10


@dataclass(frozen=True, slots=True)
class ByteSurvey:
    """The encoding of a whole file where its bytes make that certain, or else its lines that are not UTF-8.

    `utf8` and `other` count lines with letters beyond ASCII; `sample` has some of the others, of all parts of the file.
    """

    certain: str | None
    utf8: int
    other: int
    sample: bytes

    @property
    def is_utf8(self) -> bool:
        """Whether it is UTF-8, where at least half of the lines, or most letters of the others, are valid."""
        if self.utf8 >= self.other:
            return True
        text = self.sample.decode("utf-8", "replace")
        wrong = text.count("\ufffd")
        return sum(not c.isascii() for c in text) - wrong > _UTF8_TIMES * wrong


def survey_bytes(stream: IO[bytes]) -> ByteSurvey:
    """Reads the whole stream, since the first letter that is not ASCII may stand far down."""
    chunk = stream.read(_CHUNK)
    if mark := detect_unicode(chunk):
        return ByteSurvey(mark, 0, 0, b"")
    good, bad, sample, rest = 0, 0, _LineSample(), b""
    while chunk or rest:
        text = rest + chunk
        cut = _whole_length(text) if chunk else len(text)
        if codec := next((name for escape, name in _ESCAPES if escape in text), None):
            return ByteSurvey(codec, 0, 0, b"")
        if not text.isascii():
            strange = [line for line in text[:cut].splitlines() if not line.isascii()]
            wrong = [line for line in strange if not _is_utf8(line)]
            good, bad = good + len(strange) - len(wrong), bad + len(wrong)
            for line in wrong:
                sample.add(line)
        rest, chunk = text[cut:], stream.read(_CHUNK)
    return ByteSurvey(None, good, bad, sample.to_bytes())


class _LineSample:
    """A sample of lines that stays small: a full one drops every second line, and then adds fewer."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = self._count = 0
        self._every = 1

    def add(self, line: bytes) -> None:
        if self._count % self._every == 0:
            self._lines.append(line[:_SAMPLE])
            self._size += len(self._lines[-1])
        self._count += 1
        while self._size > _SAMPLE and len(self._lines) > 1:
            self._lines = self._lines[::2]
            self._size = sum(map(len, self._lines))
            self._every *= 2

    def to_bytes(self) -> bytes:
        return b"\n".join([*self._lines, b""])


def _whole_length(text: bytes) -> int:
    """How many of these bytes are whole lines, or else, in a line longer than they are, whole letters."""
    return text.rfind(b"\n") + 1 or len(text.rstrip(_HIGH)) or len(text)


def detect_unicode(head: bytes) -> str | None:
    """The Unicode encoding that a mark at the beginning names, or the places of zero bytes."""
    return _byte_order_mark(head) or _undetect_unicode(head)


def _byte_order_mark(head: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _undetect_unicode(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, by where the zero bytes of its signs and line ends stand."""
    head = head[: _SAMPLE - _SAMPLE % 4]
    zeros = [head[place::4].count(0) for place in range(4)]
    quarter = max(1, len(head) // 4)
    if min(zeros[2:]) > quarter * _MOST:
        return "utf-32-le"
    if min(zeros[:2]) > quarter * _MOST:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if max(even, odd) < _LEAST_ZEROS or min(even, odd) * _STRAY > max(even, odd):
        return None
    name, end = ("utf-16-le", "\n".encode("utf-16-le")) if odd > even else ("utf-16-be", "\n".encode("utf-16-be"))
    places = (match.start() for match in re.finditer(re.escape(end), head))
    return name if any(place % 2 == 0 for place in places) else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
