"""The rules of a catalog, ready to be matched to requests."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.digest import value_digest
from core.errors import RulesError
from core.filters import Filter, InvalidFilter, join_filters
from core.rules import Rule, RulesFile, type_path
from retrieval.rules.conditions import QueryConditions
from retrieval.rules.effects import NO_EFFECTS, Boost, Bury, Pin, RuleEffects, RuleReport

# Of the rules that match one request, so many are applied, the first ones of the file.
MOST_APPLIED = 100
_MOST_LISTED = 5  # products in a report
_Interval = tuple[float, float]


class Rewrite(NamedTuple):
    """What a rule puts in place of a query."""

    rule_id: str
    query: str


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """The rules that the forms of a request's query match, and what else decides which of them apply: its language
    (BCP 47) and its time, in seconds since 1970."""

    texts: frozenset[str]
    numbers: frozenset[int]
    language: str
    now: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """A rule with its filters read."""

    rule: Rule
    digest: str
    interval: _Interval
    languages: tuple[str, ...] | None
    types: tuple[str, ...] | None
    filter: Filter | None
    bury_filter: Filter | None
    boost_filter: Filter | None

    def applies(self, language: str, now: float) -> bool:
        if not self.interval[0] <= now < self.interval[1]:
            return False
        return self.languages is None or any(
            language == one or language.startswith(f"{one}-") for one in self.languages
        )

    def is_for(self, product_types: Iterable[str]) -> bool:
        if self.types is None:
            return True
        return any(path == one or path.startswith(f"{one} > ") for path in product_types for one in self.types)


class RuleSet:
    """Rules that are enabled, in the order of their weight.

    `name` is that of the published version, empty for one that is not published.
    """

    def __init__(self, rules: RulesFile, language: str, parse_filter: Callable[[str], Filter], name: str = "") -> None:
        """`language` (BCP 47) is that of the catalog, by which words are analysed. `parse_filter` reads the text of a
        filter, or raises InvalidFilter."""
        self.name = name
        self.left_out: dict[str, str] = {}
        """Rules whose filters cannot be used, by their ids, and why."""
        self._rules: list[_Ready] = []
        for rule in rules.rules:
            if rule.enabled:
                try:
                    self._rules.append(_ready(rule, parse_filter))
                except RulesError as error:
                    self.left_out[rule.id] = str(error)
        self._queries = QueryConditions([one.rule for one in self._rules], language)
        self._queries_apart, self._lock = self._queries.apart(), threading.Lock()
        self._always: list[int] = []
        self._by_type: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(self._rules):
            if one.rule.when.has_query:
                continue
            if one.types is None:
                self._always.append(number)
            for path in one.types or ():
                self._by_type[path].append(number)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def rules(self) -> Iterator[Rule]:
        """The rules, in order."""
        return (one.rule for one in self._rules)

    def match(self, texts: Iterable[str], language: str, now: float) -> RuleMatch:
        """What of the rules a request with these texts, each a form of its query, matches: the costly part, for one
        thread alone."""
        return _match(self._queries, texts, language, now)

    def match_apart(self, texts: Iterable[str], language: str, now: float) -> RuleMatch:
        """The same for any number of other threads."""
        with self._lock:
            return _match(self._queries_apart, texts, language, now)

    def rewrite(self, match: RuleMatch) -> Rewrite | None:
        """What the first rule that rewrites the query puts in its place."""
        for number in sorted(match.numbers):
            one = self._rules[number]
            if one.rule.rewrite and one.applies(match.language, match.now):
                return Rewrite(one.rule.id, one.rule.rewrite)
        return None

    def combine(
        self, match: RuleMatch, product_types: Iterable[str] = (), rewrite: Rewrite | None = None
    ) -> RuleEffects:
        """The effects on a request for products of these types, which was rewritten so, if at all."""
        paths = [type_path(path) for path in product_types]
        numbers = {*match.numbers, *self._always, *(n for path in _levels(paths) for n in self._by_type.get(path, ()))}
        applied = []
        for number in sorted(numbers):
            one = self._rules[number]
            if one.applies(match.language, match.now) and one.is_for(paths):
                applied.append(one)
            if len(applied) == MOST_APPLIED:
                break
        return _combined(applied, rewrite) if applied else NO_EFFECTS

    def effects(self, text: str, language: str, now: float, product_types: Iterable[str] = ()) -> RuleEffects:
        """The effects on a query in a language (BCP 47), at seconds since 1970, for products of these types."""
        match = self.match([text], language, now)
        return self.combine(match, product_types, self.rewrite(match))


def _no_filter(text: str) -> Filter:
    raise AssertionError(text)


NO_RULES = RuleSet(RulesFile(), "en", _no_filter)


def _match(queries: QueryConditions, texts: Iterable[str], language: str, now: float) -> RuleMatch:
    forms = frozenset(texts)
    numbers = frozenset(number for text in forms for number in queries.matching(text))
    return RuleMatch(forms, numbers, language.lower(), now)


def _ready(rule: Rule, parse_filter: Callable[[str], Filter]) -> _Ready:
    when = rule.when
    filters = {}
    for name, text in rule.filters:
        try:
            filters[name] = parse_filter(text)
        except InvalidFilter as error:
            raise RulesError(f"{name}: {error.description}") from None
    return _Ready(
        rule,
        value_digest(rule.model_dump(mode="json", exclude_none=True)),
        (
            when.starts.timestamp() if when.starts else float("-inf"),
            when.ends.timestamp() if when.ends else float("inf"),
        ),
        tuple(language.lower() for language in when.languages) if when.languages else None,
        tuple(map(type_path, when.product_types)) if when.product_types else None,
        filters.get("filter"),
        filters.get("bury.filter"),
        filters.get("boost.filter"),
    )


def _levels(paths: Iterable[str]) -> Iterator[str]:
    """Each path and all above it, once."""
    seen: set[str] = set()
    for path in paths:
        levels = path.split(" > ")
        for depth in range(1, len(levels) + 1):
            if (level := " > ".join(levels[:depth])) not in seen:
                seen.add(level)
                yield level


def _combined(applied: Sequence[_Ready], rewrite: Rewrite | None) -> RuleEffects:
    redirected = next((one.rule for one in applied if one.rule.redirect), None)
    pins = _placed([Pin(pin.place, pin.product, one.rule.id) for one in applied for pin in one.rule.pin])
    pinned = {pin.product_id for pin in pins}
    buried, boosts, filters, reports = [], [], [], []
    for one in applied:
        rule, own = one.rule, [pin for pin in pins if pin.rule_id == one.rule.id]
        if own:
            detail = list_some([f"{pin.product_id} at {pin.place}" for pin in own])
            reports.append(RuleReport(rule.id, "pin", detail))
        if rule.bury:
            ids = frozenset(rule.bury.products or ()) - pinned
            buried.append(Bury(rule.id, ids, one.bury_filter))
            reports.append(RuleReport(rule.id, "bury", _aim(sorted(ids), rule.bury.filter)))
        if rule.boost:
            ids = frozenset(rule.boost.products or ())
            boosts.append(Boost(rule.id, ids, one.boost_filter, rule.boost.factor))
            aim = _aim(sorted(ids), rule.boost.filter)
            reports.append(RuleReport(rule.id, "boost", f"by {rule.boost.factor:g}: {aim}"))
        if one.filter is not None:
            filters.append(one.filter)
            reports.append(RuleReport(rule.id, "filter", rule.filter or ""))
        if rewrite and rewrite.rule_id == rule.id:
            reports.append(RuleReport(rule.id, "rewrite", rewrite.query))
        if rule is redirected:
            reports.append(RuleReport(rule.id, "redirect", rule.redirect or ""))
    return RuleEffects(
        pins,
        tuple(buried),
        tuple(boosts),
        join_filters(*filters),
        rewrite.query if rewrite else None,
        redirected.redirect or "" if redirected else "",
        tuple(reports),
        value_digest([rewrite, *(one.digest for one in applied)]),
    )


def _placed(pins: Sequence[Pin]) -> tuple[Pin, ...]:
    """Each product at the place that its first pin gives it, or, where another product has that, at the next free one;
    by place."""
    places: dict[int, Pin] = {}
    products: set[str] = set()
    for pin in pins:
        if pin.product_id in products:
            continue
        place = pin.place
        while place in places:
            place += 1
        products.add(pin.product_id)
        places[place] = pin._replace(place=place)
    return tuple(places[place] for place in sorted(places))


def list_some(entries: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(entries) - _MOST_LISTED} more" if len(entries) > _MOST_LISTED else ""
    return ", ".join(entries[:_MOST_LISTED]) + more


def _aim(products: Sequence[str], filter_text: str | None) -> str:
    return "; ".join(part for part in (list_some(products), filter_text) if part)
