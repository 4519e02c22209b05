"""Synonyms and rewrites of a shop's queries, from a file in Solr's format.

    sofa, couch, love seat         each of these also matches the others, by words
    tv stand => media console      a query with the left is searched as if it had the right, by all models

One rule a line. A line that begins with # is a comment, unless a digit follows and it is a rule: '#10 screw, no 10
screw'. A backslash takes its meaning from the sign that follows: \\, is a comma, \\=> an arrow, \\# no comment.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.errors import FeedError
from core.strings import fold_text, query_key

_ARROW = "=>"
_MOST_RULES, _MOST_PHRASES, _MOST_IN_GROUP, _LONGEST = 100_000, 250_000, 50, 200
_MOST_MIB = 64
_SHOWN = 40

_COMMENT = re.compile(r"#(?!\d)")
_SEPARATOR = re.compile(r"\\.|(,|=>)")
_ESCAPED = re.compile(r"\\(.)")
_AFTER_A_RULE = re.compile(r"\s#(?!\d)")


class Synonyms(BaseModel):
    """Groups of phrases that mean the same, and phrases to put in place of others. All folded and in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[tuple[str, ...], ...] = ()
    rewrites: dict[str, str] = {}


def read_synonyms(path: Path) -> Synonyms:
    """Reads and checks a file. Raises FeedError with the first line at fault."""
    groups: dict[tuple[str, ...], None] = {}
    rewrites: dict[str, str] = {}
    phrases = 0
    for number, line in enumerate(_lines(path), 1):
        try:
            if (rule := _split(line)) is None:
                continue
            left, right = rule
            if right is None:
                groups[_group(left)] = None
            else:
                _add_rewrite(left, right, rewrites)
            phrases += len(left)
            _check_size(len(groups) + len(rewrites), phrases)
        except ValueError as error:
            raise FeedError(f"{path}, line {number}: {error}") from None
    if not groups and not rewrites:
        raise FeedError(f"{path}: holds no rule; write 'sofa, couch' or 'tv stand => media console'")
    return Synonyms(groups=tuple(groups), rewrites=rewrites)


def _lines(path: Path) -> list[str]:
    try:
        if (size := path.stat().st_size) > _MOST_MIB << 20:
            raise FeedError(f"{path}: has {size >> 20:,} MiB; give at most {_MOST_MIB} MiB of synonyms")
        # With universal newlines, and without the byte-order mark that spreadsheets write.
        return path.read_text("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise FeedError(f"{path}: no such file; give one with synonyms, a rule a line") from None
    except UnicodeDecodeError:
        raise FeedError(f"{path}: is not UTF-8; give a text file with synonyms, a rule a line") from None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read ({error.strerror}); give a text file with synonyms") from None


def _split(line: str) -> tuple[list[str], list[str] | None] | None:
    """A rule's phrases, and those after its arrow where it has one; None for a comment or an empty line.

    Raises ValueError with what is wrong.
    """
    text = line.strip()
    if not text or _COMMENT.match(text):
        return None
    sides: list[list[str]] = [[]]
    start = 0
    for sign in _SEPARATOR.finditer(text):
        if sign[1]:
            sides[-1].append(text[start : sign.start()])
            start = sign.end()
        if sign[1] == _ARROW:
            sides.append([])
    sides[-1].append(text[start:])
    if text.startswith("#") and len(sides[0]) == len(sides) == 1:
        return None  # a comment such as '#1 of our lists'
    if _AFTER_A_RULE.search(text):
        raise ValueError("a comment has a line of its own, which begins with #; write \\# for the sign itself")
    if len(sides) > 2:
        raise ValueError(f"has more than one {_ARROW}; write a line for each, or \\{_ARROW} for the sign itself")
    phrases = [[_phrase(part) for part in side] for side in sides]
    return phrases[0], phrases[1] if len(sides) == 2 else None


def _phrase(part: str) -> str:
    """One phrase, folded and in lower case. Raises ValueError for one without content words, or with too many."""
    if "\\" in _ESCAPED.sub("", part):
        raise ValueError("a phrase ends with a backslash; write \\\\ for the sign itself")
    part = " ".join(_ESCAPED.sub(r"\1", part).split())
    phrase = part if len(part) > _LONGEST else fold_text(query_key(part))
    if len(phrase) > _LONGEST:
        raise ValueError(f"a phrase has over {_LONGEST} characters; shorten it")
    if not phrase:
        raise ValueError("a phrase is empty; take out the comma, or write it")
    if not any(character.isalnum() for character in phrase):
        raise ValueError(f"the phrase {_shown(phrase)} has no letter or digit; write it in words, or take it out")
    return phrase


def _add_rewrite(phrases: list[str], targets: list[str], rewrites: dict[str, str]) -> None:
    if len(targets) != 1:
        raise ValueError(f"a rewrite has one phrase after {_ARROW}; for several that mean the same write 'a, b, c'")
    for phrase in phrases:
        if phrase == targets[0]:
            raise ValueError(f"{_shown(phrase)} is to become itself; leave it out")
        if rewrites.get(phrase, targets[0]) != targets[0]:
            raise ValueError(f"{_shown(phrase)} already becomes {_shown(rewrites[phrase])}; keep one")
        rewrites[phrase] = targets[0]


def _group(phrases: list[str]) -> tuple[str, ...]:
    different = tuple(dict.fromkeys(phrases))
    if len(different) < 2:
        raise ValueError("synonyms are two phrases or more, with commas between: 'sofa, couch'")
    if len(different) > _MOST_IN_GROUP:
        raise ValueError(f"has {len(different)} phrases; give at most {_MOST_IN_GROUP}")
    return different


def _check_size(rules: int, phrases: int) -> None:
    if rules > _MOST_RULES:
        raise ValueError(f"holds more than {_MOST_RULES:,} rules up to here; give at most as many")
    if phrases > _MOST_PHRASES:
        raise ValueError(f"holds more than {_MOST_PHRASES:,} phrases up to here; give at most as many")


def _shown(phrase: str) -> str:
    return repr(phrase if len(phrase) <= _SHOWN else phrase[: _SHOWN - 1] + "…")
