"""Lines of a feed's text, and whether all of their bytes could be decoded."""

import codecs
import io
from pathlib import Path
from typing import IO

from indexer.feed.batch import Broken, broken
from indexer.feed.sniff import reading

LINE_LIMIT = 1 << 24
_UNDECODED = "\udcff"
_KEEP = "tandem.keep_undecoded"
# Bytes that do not decode become a lone surrogate, which no encoding holds, so that their row can be told.
codecs.register_error(_KEEP, lambda error: (_UNDECODED, error.end))  # type: ignore[attr-defined]


class Lines:
    """Lines with their ends, some of which can be put back. Lines beyond the limit come cut.

    `taken` are the lines handed out since it was last cleared, `characters` counts all that were read.
    """

    def __init__(self, path: Path, stream: IO[bytes], encoding: str) -> None:
        self.path = path
        self.taken: list[str] = []
        self.characters = 0
        self._text = io.TextIOWrapper(stream, encoding, errors=_KEEP, newline="")
        self._returned: list[str] = []

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._returned.pop() if self._returned else self._read()
        self.taken.append(line)
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
        self.taken.clear()
        return "".join(ahead)

    def _read(self) -> str:
        if self._text.closed:
            raise StopIteration
        with reading(self.path):
            line = self._text.readline(LINE_LIMIT)
            if len(line) == LINE_LIMIT and not line.endswith(("\n", "\r")):
                while (rest := self._text.readline(LINE_LIMIT)) and not rest.endswith(("\n", "\r")):
                    pass
            if not line:
                self._text.close()
                raise StopIteration
            if not self.characters:
                line = line.lstrip("\ufeff")  # marks beyond the one that the encoding takes away
        self.characters += len(line)
        return line


def decoded(text: str) -> bool:
    """Whether every byte of the text could be decoded."""
    return text.isascii() or _UNDECODED not in text


def undecodable(number: int, text: str) -> Broken:
    """The broken row for a text that is not `decoded`."""
    shown = text.replace(_UNDECODED, "\ufffd")
    return broken(number, "undecodable", "holds bytes that are not of the feed's encoding", shown)
