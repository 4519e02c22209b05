"""The formats of what a release holds, by number.

A version reads the formats that it writes and those before, so that the servers of a fleet can be upgraded one by one
before anything is made by the new version. It refuses all others and states what to do.
"""

import contextlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """What one part of a release is called, and the number of the format that this version writes."""

    part: str
    number: int

    @property
    def readable(self) -> tuple[int, ...]:
        """The formats that this version reads."""
        return tuple(range(max(1, self.number - 1), self.number + 1))

    def problem(self, number: int, remake: str) -> str:
        """Why a part of this format cannot be read, and what to do; empty where it can be.

        `remake` is how this version makes the part, such as "run `tandem index`".
        """
        if number in self.readable:
            return ""
        reads = " and ".join(map(str, self.readable))
        remedy = f"upgrade Tandem, or {remake} with this version" if number > self.number else f"{remake} again"
        return f"the {self.part} has format {number}, and this version reads {reads}: {remedy}"

    def problem_of(self, data: bytes, remake: str) -> str:
        """The same for a JSON object that states its `format`; empty where it states none."""
        with contextlib.suppress(ValueError, RecursionError):  # reading it as a whole reports what is wrong
            content = json.loads(data)
            number = content.get("format") if isinstance(content, dict) else None
            return self.problem(number, remake) if isinstance(number, int) else ""
        return ""


MANIFEST = Format("manifest", 1)
PRODUCT_TABLE = Format("product table", 2)
LEXICAL_INDEX = Format("lexical index", 5)
SUGGESTIONS = Format("index of suggestions", 1)
TYPED_COLUMNS = Format("typed columns", 1)
ENCODER = Format("encoder", 1)
RANKER = Format("ranker", 2)
FINAL_SCORE = Format("final score", 5)
BEHAVIOUR = Format("behaviour", 1)
USER_TOWER = Format("user tower", 1)
RECOMMENDATION_SCORE = Format("final score of recommendations", 1)
