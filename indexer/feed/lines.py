"""Lines of a feed's text, and whether all of their bytes could be decoded."""

import codecs
import io
from pathlib import Path
from typing import IO

from indexer.feed.batch import BrokenRow, broken_row
from indexer.feed.source import feed_errors

LINE_LIMIT = 1 << 24
_UNDECODED = "\udcff"
_KEEP = "tandem.keep_undecoded"
# Bytes that do not decode become a lone surrogate, which no encoding holds, so that their row is known.
codecs.register_error(_KEEP, lambda error: (_UNDECODED, error.end))  # type: ignore[attr-defined]


class Lines:
    """Lines with their ends, some of which can be put back. Lines beyond the limit come cut.

    `consumed` holds the lines handed out since it was last cleared, `characters` counts all that were read. As a
    context manager it lets go of the bytes at its end, and leaves them open.
    """

    def __init__(self, path: Path, stream: IO[bytes], encoding: str) -> None:
        self.path = path
        self.consumed: list[str] = []
        self.characters = 0
        self._text = io.TextIOWrapper(stream, encoding, errors=_KEEP, newline="")
        self._returned: list[str] = []
        self._ended = False

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._text.detach()

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._returned.pop() if self._returned else self._read()
        self.consumed.append(line)
        return line

    def put_back(self, lines: list[str]) -> None:
        """Makes these lines the next ones."""
        self._returned.extend(reversed(lines))

    def peek(self, size: int) -> str:
        """About `size` characters ahead, in whole lines."""
        ahead: list[str] = []
        while size > 0 and (line := next(self, "")):
            ahead.append(line)
            size -= len(line)
        self.put_back(ahead)
        self.consumed.clear()
        return "".join(ahead)

    def skip(self, count: int) -> None:
        """Reads past so many lines."""
        for _ in range(count):
            next(self, "")
        self.consumed.clear()

    def _read(self) -> str:
        if self._ended:
            raise StopIteration
        with feed_errors(self.path):
            line = self._text.readline(LINE_LIMIT)
            if len(line) == LINE_LIMIT and not line.endswith(("\n", "\r")):
                while (rest := self._text.readline(LINE_LIMIT)) and not rest.endswith(("\n", "\r")):
                    pass
            if not line:
                self._ended = True
                raise StopIteration
            if not self.characters:
                line = line.lstrip("\ufeff")  # marks beyond the one that the encoding takes away
        self.characters += len(line)
        return line


def is_decoded(text: str) -> bool:
    """Whether every byte of the text could be decoded."""
    return text.isascii() or _UNDECODED not in text


def undecodable_row(number: int, text: str) -> BrokenRow:
    """The broken row of a text that is not `is_decoded`."""
    shown = text.replace(_UNDECODED, "\ufffd")
    return broken_row(number, "undecodable", "holds bytes that are not of the feed's encoding", shown)
