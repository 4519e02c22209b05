"""Which rules match a request, and what they do together."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.filters import And, Equal, Filter
from core.rules import RulesFile
from retrieval.rules.effects import NO_EFFECTS, Boost, Bury, Pin, RuleEffects, RuleReport
from retrieval.rules.ruleset import MOST_APPLIED, NO_RULES, RuleSet

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def parse(text: str) -> Filter:
    field, _, value = text.partition(" = ")
    return Equal(field, value)


def ruleset(*rules: dict[str, Any], language: str = "en") -> RuleSet:
    """Rules r0, r1, ...; one without an action pins p0, p1, ... to place 1."""
    actions = {"pin", "bury", "boost", "filter", "rewrite", "redirect"}
    whole = [
        {"id": f"r{number}"} | rule | ({} if actions & rule.keys() else {"pin": [f"p{number}"]})
        for number, rule in enumerate(rules)
    ]
    return RuleSet(RulesFile.model_validate({"rules": whole}), language, parse)


def matching(rules: RuleSet, text: str, **request: Any) -> list[str]:
    return [report.rule_id for report in effects(rules, text, **request).reports]


def effects(
    rules: RuleSet, text: str, language: str = "en", now: datetime = NOW, product_types: tuple[str, ...] = ()
) -> RuleEffects:
    return rules.effects(text, language, now.timestamp(), product_types)


def test_queries_match_whole_whatever_case_and_spaces() -> None:
    rules = ruleset({"when": {"queries": ["Red  Mug", "cup"]}})
    assert matching(rules, "red mug") and matching(rules, "RED MUG") and matching(rules, "Cup")
    assert not matching(rules, "red mugs") and not matching(rules, "the red mug")


def test_phrases_match_as_search_sees_words_and_those_that_overlap_too() -> None:
    rules = ruleset(
        {"when": {"phrases": ["coffee table"]}}, {"when": {"phrases": ["table lamps"]}}, {"when": {"phrases": ["lamp"]}}
    )
    assert matching(rules, "cheap Coffee Tables") == ["r0"]
    assert set(matching(rules, "coffee table lamp")) == {"r0", "r1", "r2"}
    assert not matching(rules, "table coffee") and not matching(rules, "clamp")


def test_words_match_in_any_order() -> None:
    rules = ruleset({"when": {"words": ["mug for coffee", "tea pot"]}}, {"when": {"words": ["mug"]}})
    assert matching(rules, "coffee in red mugs") == ["r0", "r1"]
    assert matching(rules, "pots and tea") == ["r0"]
    assert matching(rules, "mugs") == ["r1"] and not matching(rules, "tea")


def test_patterns_match_in_time_that_grows_with_the_text() -> None:
    rules = ruleset(*({"when": {"patterns": [rf"^mug {number}\b", "(x+x+)+y"]}} for number in range(70)))
    assert matching(rules, "Mug 69 blue")[-1:] == ["r69"] and len(matching(rules, "Mug 69 blue")) == 1
    assert not matching(rules, "x" * 500) and len(matching(rules, "xxy")) == 70


def test_product_types_match_with_all_below_them() -> None:
    rules = ruleset({"when": {"product_types": ["Home > Kitchen"]}}, {"when": {"product_types": ["home", "garden"]}})
    assert matching(rules, "x", product_types=("home>kitchen>mugs",)) == ["r0", "r1"]
    assert matching(rules, "x", product_types=("Home > Kitchenware",)) == ["r1"]
    assert not matching(rules, "x") and not matching(rules, "x", product_types=("Tools",))


def test_all_kinds_of_conditions_have_to_hold() -> None:
    rules = ruleset({"when": {"phrases": ["mug"], "product_types": ["Home"], "languages": ["en"]}})
    assert matching(rules, "mug", product_types=("Home",))
    assert not matching(rules, "mug") and not matching(rules, "cup", product_types=("Home",))
    assert not matching(rules, "mug", product_types=("Home",), language="de")


@pytest.mark.parametrize(
    ("rule", "request_language", "matches"),
    [("en", "en", True), ("en", "en-IE", True), ("EN-ie", "en-IE", True), ("en-IE", "en", False), ("en", "enm", False)],
)
def test_languages_match_with_their_regions(rule: str, request_language: str, matches: bool) -> None:
    assert bool(matching(ruleset({"when": {"languages": [rule]}}), "mug", language=request_language)) is matches


def test_a_rule_applies_from_its_first_moment_until_its_last() -> None:
    rules = ruleset({"when": {"starts": NOW, "ends": NOW + timedelta(hours=1)}})
    second = timedelta(seconds=1)
    assert not matching(rules, "x", now=NOW - second) and matching(rules, "x", now=NOW)
    assert matching(rules, "x", now=NOW + timedelta(hours=1) - second)
    assert not matching(rules, "x", now=NOW + timedelta(hours=1))


def test_a_rule_that_is_not_enabled_does_nothing() -> None:
    rules = ruleset({"enabled": False})
    assert not rules and effects(rules, "x") is NO_EFFECTS
    assert not NO_RULES and not NO_EFFECTS and NO_EFFECTS.digest == ""


def test_effects_come_together_in_the_order_of_the_rules() -> None:
    rules = ruleset(
        {"pin": ["a", {"product": "b", "place": 3}], "bury": {"products": ["c", "b"], "filter": "brand = Acme"}},
        {"pin": [{"product": "d", "place": 1}, {"product": "b", "place": 2}], "filter": "color = red"},
        {"boost": {"products": ["e"], "factor": 2}, "filter": "size = L"},
        {"when": {"phrases": ["mug"]}, "redirect": "/mugs", "rewrite": "cup"},
        {"when": {"phrases": ["mug"]}, "redirect": "/other", "rewrite": "jug"},
    )
    result = effects(rules, "mug")
    assert result.pins == (Pin(1, "a", "r0"), Pin(2, "d", "r1"), Pin(3, "b", "r0"))  # d's place was taken
    assert result.buried == (Bury("r0", frozenset({"c"}), Equal("brand", "Acme")),)
    assert result.boosts == (Boost("r2", frozenset({"e"}), None, 2.0),)
    assert result.filter == And((Equal("color", "red"), Equal("size", "L")))
    assert (result.rewrite, result.redirect) == ("cup", "/mugs")
    assert result.reports == (
        RuleReport("r0", "pin", "a at 1, b at 3"),
        RuleReport("r0", "bury", "c; brand = Acme"),
        RuleReport("r1", "pin", "d at 2"),
        RuleReport("r1", "filter", "color = red"),
        RuleReport("r2", "boost", "by 2: e"),
        RuleReport("r2", "filter", "size = L"),
        RuleReport("r3", "rewrite", "cup"),
        RuleReport("r3", "redirect", "/mugs"),
    )


def test_a_search_as_typed_has_no_rewrite() -> None:
    rules = ruleset({"when": {"phrases": ["mug"]}, "rewrite": "cup"})
    match = rules.match(["mug"], "en", NOW.timestamp())
    assert rules.rewrite(match) == ("r0", "cup")
    assert rules.combine(match).rewrite is None and not rules.combine(match).reports


def test_the_digest_is_that_of_the_rules_that_match() -> None:
    mug, cup = {"when": {"phrases": ["mug"]}, "pin": ["a"]}, {"when": {"phrases": ["cup"]}, "pin": ["b"]}
    digest = effects(ruleset(mug, cup), "mug").digest
    assert digest and digest == effects(ruleset(mug, cup | {"pin": ["c"]}), "red mug").digest
    assert digest != effects(ruleset(mug | {"pin": ["c"]}, cup), "mug").digest
    assert effects(ruleset(mug, cup), "jug").digest == ""


def test_so_many_rules_are_applied_and_reports_stay_short() -> None:
    rules = ruleset(*({"when": {"phrases": ["mug"]}} for _ in range(MOST_APPLIED + 50)))
    assert len(effects(rules, "mug").reports) == MOST_APPLIED
    assert effects(rules, "mug").pins[-1] == Pin(MOST_APPLIED, f"p{MOST_APPLIED - 1}", f"r{MOST_APPLIED - 1}")
    long = ruleset({"pin": [f"p{number}" for number in range(100)]})
    assert effects(long, "x").reports[0].detail == "p0 at 1, p1 at 2, p2 at 3, p3 at 4, p4 at 5 and 95 more"


def test_another_thread_finds_the_same() -> None:
    rules = ruleset({"when": {"phrases": ["coffee mugs"]}}, {"when": {"words": ["mug red"]}}, language="de-AT")
    texts = ["red coffee mugs", "mug", "rote Mug Red"]
    one = rules.match(texts, "en", 0.0)
    assert one == rules.match_apart(texts, "en", 0.0) and one.numbers == {0, 1}
