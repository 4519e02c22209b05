"""Negation in queries and in products: 'chair without arms', 'Kekse ohne Zucker', 'robe pas rouge'.

A negation begins with a cue of the language and reaches to the next preposition or conjunction. What names a kind of
product is none ('no show socks', 'aspirateur sans fil', 'pas cher'), nor is what merely ends or begins with a negative
('wireless', 'non-slip', 'sugar free'). In the text of a product such claims say that it lacks the thing, too.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cache

import regex

from text.negation_words import NEGATION_WORDS, NegationWords

# The words of one negation, and the negations of one query.
_MOST_WORDS, _MOST_NEGATIONS = 4, 8


@dataclass(frozen=True, slots=True)
class Negations:
    """What a query is without its negations, and what each negates, in the query's own words."""

    rest: str
    phrases: tuple[str, ...] = ()


_SIGNS = r",;:.!?()\[\]/|"
_TOKEN = rf"(?i:w/o(?:ut)?|n/a)(?!\w)|[dlnDLN]['\u2019](?=\w)|[^\s{_SIGNS}]+(?:[.:](?=\w)[^\s{_SIGNS}]+)*|[{_SIGNS}]"
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "\u00b4": "'"})
_TOKENS = regex.compile(_TOKEN)
_STOPS = frozenset(",;:.!?()[]/|")
_DENYING = ("non-", "no-", "nicht-")
_LISTING = frozenset(",/")
_NOTHING = regex.compile(r"zero|non|0(?:[.,]0+)?%")  # as products say it in many languages: zero sugar, 0% alcohol


def read_negations(text: str, language: str) -> Negations:
    """The query without its negations, and what they negate; the query unchanged where it has none, where nothing else
    would be left, and in languages without rules. `language` is a BCP 47 tag. Takes time linear in the text."""
    grammar = _grammar(language.lower().replace("_", "-").split("-")[0])
    if grammar is None or not grammar.may_negate(text):
        return Negations(text)
    tokens = _tokens(text)
    spans: list[tuple[int, int]] = []
    phrases: list[str] = []
    place = 0
    while place < len(tokens) and len(phrases) < _MOST_NEGATIONS:
        span = grammar.negation(tokens, place)
        if span is None:
            place += 1
            continue
        spans.append((tokens[place].start, tokens[span.end - 1].end))
        phrases += [text[tokens[start].start : tokens[end - 1].end] for start, end in span.things]
        place = span.end
    rest = _without(text, spans)
    if not phrases or not any(character.isalnum() for character in rest):
        return Negations(text)
    return Negations(rest, tuple(dict.fromkeys(phrases)))


def affirmed(text: str, language: str, thing: str = "") -> str:
    """The text of a product without what it says that the product lacks: 'with legs, without arms' is 'with legs'.

    Words of `thing` stay whatever their endings, as 'wireless' does. Takes time linear in the text.
    """
    grammar = _grammar(language.lower().replace("_", "-").split("-")[0])
    if grammar is None or not grammar.may_deny(text):
        return text
    tokens, own = _tokens(text), frozenset(token.key for token in _tokens(thing))
    spans = []
    place = 0
    while place < len(tokens):
        if (end := grammar.denial(tokens, place, own)) is None:
            place += 1
            continue
        spans.append((tokens[place].start, tokens[end - 1].end))
        place = end
    return _without(text, spans)


@dataclass(frozen=True, slots=True)
class _Token:
    """A word in lower case, and where it stands."""

    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a negation ends, and from where to where each thing is that it negates; places of tokens."""

    end: int
    things: tuple[tuple[int, int], ...]


class _Grammar:
    """The rules of a language made ready."""

    def __init__(self, rules: NegationWords) -> None:
        self._cues = _by_first(rules.cues.split("|"))
        self._weak = _by_first(rules.weak.split("|"))
        self._fixed, self._weak_fixed = regex.compile(rules.fixed), regex.compile(rf"{rules.fixed}|{rules.weak_fixed}")
        self._before = frozenset(rules.before.split())
        self._skipped = frozenset(rules.skipped.split())
        self._joints = frozenset(rules.joints.split())
        self._bounds = frozenset(rules.bounds.split())
        self._free = regex.compile(rf"(?:\w[\w'-]*)?-?(?:{rules.free})(?:e[rnms]?)?")
        self._word_of_its_own = frozenset(rules.free.split("|"))
        cues = "|".join(map(regex.escape, sorted({*self._cues, *self._weak}, key=len, reverse=True)))
        self._query_cue = regex.compile(rf"(?<!\w)(?:{cues})")
        self._product_cue = regex.compile(rf"(?<!\w)(?:{cues}|{_NOTHING.pattern})|(?:{rules.free})(?!\p{{L}}{{3}})")

    def may_negate(self, text: str) -> bool:
        return self._query_cue.search(text.translate(_QUOTES).casefold()) is not None

    def may_deny(self, text: str) -> bool:
        return self._product_cue.search(text.translate(_QUOTES).casefold()) is not None

    def negation(self, tokens: Sequence[_Token], place: int) -> _Span | None:
        """The negation whose cue begins at this place; None where there is none."""
        start, weak = self._cue(tokens, place)
        if not start or (weak and not self._restricts(tokens, place)):
            return None
        skipped = self._skip(tokens, start)
        fixed = self._weak_fixed if weak else self._fixed
        if not self._is_thing(tokens, skipped) or fixed.fullmatch(tokens[start].key):
            return None
        if weak and tokens[skipped].key[0].isdigit():  # 'no 2b pencils'
            return None
        if place == 0:  # what it restricts follows: the thing is one word, and a title such as 'without a trace' no cue
            return self._leading(tokens, start, skipped)
        return self._listed(tokens, skipped)

    def denial(self, tokens: Sequence[_Token], place: int, own: Set[str]) -> int | None:
        """The end of what a product says it lacks, if that begins at this place; the words of `own` have no ending."""
        start, _ = self._cue(tokens, place)
        start = start or (place + 1 if _NOTHING.fullmatch(tokens[place].key) else 0)
        if start:
            skipped = self._skip(tokens, start)
            return self._listed(tokens, skipped).end if self._is_thing(tokens, skipped) else None
        key = tokens[place].key
        if key in self._word_of_its_own or key in own:
            return None
        if self._free.fullmatch(key) or key.startswith(_DENYING):
            return place + 1
        following = tokens[place + 1].key if place + 1 < len(tokens) else ""
        return place + 2 if following in self._word_of_its_own and key not in _STOPS else None

    def _cue(self, tokens: Sequence[_Token], place: int) -> tuple[int, bool]:
        """The place behind the longest cue that begins here, 0 where none does, and whether it is a weak one."""
        longest = (0, False)
        for cues, weak in ((self._cues, False), (self._weak, True)):
            for words in cues.get(tokens[place].key, ()):
                end = place + len(words)
                if end > longest[0] and tuple(token.key for token in tokens[place:end]) == words:
                    longest = end, weak
        return longest

    def _restricts(self, tokens: Sequence[_Token], place: int) -> bool:
        return not place or not (tokens[place - 1].key in self._before or tokens[place - 1].key in "([/")

    def _is_thing(self, tokens: Sequence[_Token], place: int) -> bool:
        """Whether what a cue may negate stands here: a word that is no number, no bound and no second cue."""
        if place >= len(tokens):
            return False
        key = tokens[place].key
        return self._goes_on(key) and any(map(str.isalpha, key))

    def _leading(self, tokens: Sequence[_Token], start: int, skipped: int) -> _Span | None:
        span = self._listed(tokens, skipped)
        if span.end < len(tokens) and tokens[span.end].key in ",;":
            return span
        if skipped > start or skipped + 1 >= len(tokens):
            return None
        return _Span(skipped + 1, ((skipped, skipped + 1),))

    def _listed(self, tokens: Sequence[_Token], place: int) -> _Span:
        """Things from this place on: 'sugar or salt' are two."""
        things = []
        end = place
        while self._is_thing(tokens, place):
            end = last = place + 1
            while end < len(tokens) and end - place < _MOST_WORDS and self._goes_on(tokens[end].key):
                end += 1
                last = last if tokens[end - 1].key in self._skipped else end
            things.append((place, last))
            place = self._next(tokens, end)
        if end + 1 < len(tokens) and tokens[end].key in self._joints and tokens[end + 1].key in self._bounds:
            end += 1  # 'without arms and with wheels'
        return _Span(end, tuple(things))

    def _goes_on(self, key: str) -> bool:
        return not (key in _STOPS or key in self._bounds or key in self._joints)

    def _next(self, tokens: Sequence[_Token], end: int) -> int:
        """Where the next thing of a list begins; past the end where the list ends here.

        A comma alone ends it: what follows may be wanted.
        """
        joint = end
        while joint < len(tokens) and tokens[joint].key in _LISTING:
            joint += 1
        if joint < len(tokens) and (tokens[joint].key in self._joints or tokens[end].key == "/"):
            joint += tokens[joint].key in self._joints
            while joint < len(tokens) and tokens[joint].key in self._skipped - self._bounds:
                joint += 1
            return joint
        return len(tokens)

    def _skip(self, tokens: Sequence[_Token], place: int) -> int:
        end = min(len(tokens), place + _MOST_WORDS)
        while place < end and tokens[place].key in self._skipped:
            place += 1
        return place


# Norwegian shares the words of Danish that count here.
_ALIKE = {"nb": "da", "nn": "da", "no": "da"}


@cache
def _grammar(language: str) -> _Grammar | None:
    language = _ALIKE.get(language, language)
    return _Grammar(NEGATION_WORDS[language]) if language in NEGATION_WORDS else None


def _by_first(phrases: Iterable[str]) -> dict[str, list[tuple[str, ...]]]:
    result: dict[str, list[tuple[str, ...]]] = {}
    for words in (tuple(_keys(phrase)) for phrase in phrases):
        result.setdefault(words[0], []).append(words)
    return result


def _keys(text: str) -> list[str]:
    return [token.key for token in _tokens(text)]


def _tokens(text: str) -> list[_Token]:
    """The words and signs of a text; an elided article (l', d', n') is one of its own."""
    return [_Token(match[0].translate(_QUOTES).casefold(), *match.span()) for match in _TOKENS.finditer(text)]


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text without these spans, and without what held them together with the rest."""
    pieces, done = [], 0
    for start, end in spans:
        pieces.append(text[done:start])
        done = end
    pieces.append(text[done:])
    return " ".join(" ".join(piece.strip(" ,;/") for piece in pieces).split()) if spans else text
