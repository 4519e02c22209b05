"""Random rules on random requests against a plain evaluator that reads each rule one by one."""

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.filter_text import parse_filter
from core.filters import join_filters
from core.rules import Rule, RulesFile
from core.rules_file import dump_rules, parse_rules
from retrieval.rules.effects import RuleEffects
from retrieval.rules.ruleset import RuleSet

# Words whose stems are themselves, so that the plain evaluator needs no analysis.
WORDS = ("mug", "cup", "red", "lamp", "desk")
TYPES = ("Home", "Home > Mugs", "Tools")
PRODUCTS = ("p1", "p2", "p3", "p4")
FILTERS = ('brand = "A"', "price < 5", 'color = "red"')
DAYS = st.integers(1, 9).map(lambda day: datetime(2026, 1, day, tzinfo=UTC))

text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
texts = st.lists(text, min_size=1, max_size=2)
products = st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn, number: int) -> dict[str, Any]:
    when: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(("queries", "phrases", "words")), max_size=2)):
        when[name] = draw(texts)
    if draw(st.booleans()):
        when["patterns"] = [draw(st.sampled_from(("^mug", "cup$", "r.d", "desk|lamp")))]
    if draw(st.booleans()):
        when["product_types"] = [draw(st.sampled_from(TYPES))]
    if draw(st.booleans()):
        when["languages"] = [draw(st.sampled_from(("en", "en-IE", "de")))]
    if draw(st.booleans()):
        when["starts"] = draw(DAYS)
        when["ends"] = when["starts"].replace(day=20)
    rule: dict[str, Any] = {"id": f"r{number}", "enabled": draw(st.integers(0, 9)) > 0, "when": when}
    rule["pin"] = [{"product": one, "place": n + draw(st.integers(1, 3)) * 10} for n, one in enumerate(draw(products))]
    if draw(st.booleans()):
        rule["bury"] = {"products": draw(products)}
    if draw(st.booleans()):
        rule["boost"] = {"products": draw(products), "filter": draw(st.sampled_from(FILTERS)), "factor": 2.0}
    if draw(st.booleans()):
        rule["filter"] = draw(st.sampled_from(FILTERS))
    has_query = bool(when.keys() & {"queries", "phrases", "words", "patterns"})
    if has_query and "product_types" not in when and draw(st.booleans()):
        rule["rewrite"] = draw(text)
    if (has_query or "product_types" in when) and draw(st.booleans()):
        rule["redirect"] = f"/{number}"
    return rule


files = st.integers(1, 6).flatmap(lambda count: st.tuples(*(rules(number) for number in range(count))))


def matches(rule: Rule, query: str, language: str, now: datetime, product_types: list[str]) -> bool:
    when, words = rule.when, query.split()
    spans = {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    of_query = [query == one for one in when.queries or ()]
    of_query += [one in spans for one in when.phrases or ()]
    of_query += [set(one.split()) <= set(words) for one in when.words or ()]
    of_query += [re.search(one, query) is not None for one in when.patterns or ()]
    return (
        rule.enabled
        and (any(of_query) or not when.has_query)
        and (
            when.product_types is None
            or any(path == one or path.startswith(f"{one} > ") for path in product_types for one in when.product_types)
        )
        and (when.languages is None or any(language == one or language.startswith(f"{one}-") for one in when.languages))
        and (when.starts is None or when.ends is None or when.starts <= now < when.ends)
    )


def plain_effects(rules: list[Rule]) -> dict[str, Any]:
    places: dict[int, str] = {}
    for rule in rules:
        for pin in rule.pin:
            if pin.product not in places.values():
                places[next(place for place in range(pin.place, 1000) if place not in places)] = pin.product
    return {
        "pins": sorted(places.items()),
        "buried": [(rule.id, set(rule.bury.products or ()) - set(places.values())) for rule in rules if rule.bury],
        "boosts": [
            (rule.id, set(rule.boost.products or ()), parse_filter(rule.boost.filter or ""), rule.boost.factor)
            for rule in rules
            if rule.boost
        ],
        "filter": join_filters(*(parse_filter(rule.filter) for rule in rules if rule.filter)),
        "rewrite": next((rule.rewrite for rule in rules if rule.rewrite), None),
        "redirect": next((rule.redirect for rule in rules if rule.redirect), ""),
    }


def shown(effects: RuleEffects) -> dict[str, Any]:
    return {
        "pins": [(pin.place, pin.product_id) for pin in effects.pins],
        "buried": [(one.rule_id, set(one.product_ids)) for one in effects.buried],
        "boosts": [(one.rule_id, set(one.product_ids), one.filter, one.factor) for one in effects.boosts],
        "filter": effects.filter,
        "rewrite": effects.rewrite,
        "redirect": effects.redirect,
    }


@settings(max_examples=300)
@given(files, text, st.sampled_from(("en", "en-IE", "de", "fr")), DAYS, st.lists(st.sampled_from(TYPES), max_size=2))
def test_rules_do_what_reading_them_one_by_one_does(
    file: tuple[dict[str, Any], ...], query: str, language: str, now: datetime, product_types: list[str]
) -> None:
    content = RulesFile.model_validate({"rules": file})
    again = parse_rules(dump_rules(content).encode(), "rules", is_json=True)
    assert again.rules == content.rules
    ready = RuleSet(again, "en", parse_filter)
    effects = ready.effects(query, language, now.timestamp(), product_types)
    expected = [rule for rule in content.rules if matches(rule, query, language, now, product_types)]
    assert shown(effects) == plain_effects(expected)
    assert {report.rule_id for report in effects.reports} <= {rule.id for rule in expected}
    assert bool(effects.digest) is bool(expected)
    apart = ready.match_apart([query], language, now.timestamp())
    assert ready.combine(apart, product_types, ready.rewrite(apart)) == effects
