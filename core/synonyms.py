"""Synonyms and rewrites of a shop's queries, from a file in Solr's format.

    sofa, couch, settee            each of these also asks for the others, by words
    tv stand => media console      a query that says the left is searched as if it said the right, by all models

One rule a line; what follows a # is a comment.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.errors import FeedError
from core.text import fold_text, query_key

_ARROW = "=>"
_MOST_RULES, _MOST_WORDS, _LONGEST = 100_000, 50, 200


class Synonyms(BaseModel):
    """Groups of phrases that mean the same, and phrases to put in place of others. All folded and in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[tuple[str, ...], ...] = ()
    rewrites: dict[str, str] = {}

    def rewrite(self, text: str) -> str:
        """The query with every phrase of the left replaced, the longest first, each place once; else as it was."""
        if not self.rewrites:
            return text
        ordered = sorted(self.rewrites, key=lambda phrase: (-len(phrase), phrase))
        phrases = "|".join(re.escape(phrase) for phrase in ordered)
        found = re.sub(rf"(?<!\w)(?:{phrases})(?!\w)", lambda match: self.rewrites[match[0]], query_key(text))
        return text if found == query_key(text) else found


def read_synonyms(path: Path) -> Synonyms:
    """Reads and checks a file. Raises FeedError with the first line at fault."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise FeedError(f"{path}: no such file; give one with synonyms, a rule a line") from None
    except UnicodeDecodeError:
        raise FeedError(f"{path}: is not UTF-8; give a text file with synonyms, a rule a line") from None
    groups: list[tuple[str, ...]] = []
    rewrites: dict[str, str] = {}
    for number, line in _rules(lines):
        try:
            if _ARROW in line:
                _add_rewrite(line, rewrites)
            else:
                groups.append(_group(line))
        except ValueError as error:
            raise FeedError(f"{path}, line {number}: {error}") from None
    if not groups and not rewrites:
        raise FeedError(f"{path}: holds no rule; write 'sofa, couch' or 'tv stand => media console'")
    if len(groups) + len(rewrites) > _MOST_RULES:
        raise FeedError(f"{path}: holds {len(groups) + len(rewrites):,} rules; give at most {_MOST_RULES:,}")
    chained = next((left for left, right in rewrites.items() if right in rewrites), None)
    if chained is not None:
        raise FeedError(
            f"{path}: {chained!r} becomes {rewrites[chained]!r}, which is rewritten in turn; write what it is to become"
        )
    return Synonyms(groups=tuple(groups), rewrites=rewrites)


def _rules(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        rule = line.partition("#")[0].strip()
        if rule:
            yield number, rule


def _add_rewrite(line: str, rewrites: dict[str, str]) -> None:
    left, _, right = line.partition(_ARROW)
    targets = _phrases(right)
    if len(targets) != 1:
        raise ValueError(f"a rewrite has one phrase after {_ARROW}; for several that mean the same write 'a, b, c'")
    for phrase in _phrases(left):
        if phrase == targets[0]:
            raise ValueError(f"{phrase!r} is to become itself; leave it out")
        if rewrites.get(phrase, targets[0]) != targets[0]:
            raise ValueError(f"{phrase!r} already becomes {rewrites[phrase]!r}; keep one")
        rewrites[phrase] = targets[0]


def _group(line: str) -> tuple[str, ...]:
    phrases = tuple(dict.fromkeys(_phrases(line)))
    if len(phrases) < 2:
        raise ValueError("synonyms are two phrases or more, with commas between: 'sofa, couch'")
    if len(phrases) > _MOST_WORDS:
        raise ValueError(f"has {len(phrases)} phrases; give at most {_MOST_WORDS}")
    return phrases


def _phrases(text: str) -> list[str]:
    phrases = [query_key(part) for part in text.split(",")]
    if not all(any(character.isalnum() for character in phrase) for phrase in phrases):
        raise ValueError("a phrase is empty; take out the comma, or write it")
    if any(len(phrase) > _LONGEST for phrase in phrases):
        raise ValueError(f"a phrase has over {_LONGEST} characters; shorten it")
    return [fold_text(phrase) for phrase in phrases]
