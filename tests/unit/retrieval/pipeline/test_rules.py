"""Merchandising rules inside a request."""

from pathlib import Path
from typing import Any

import pytest
from doubles import FixedLexicalRetriever, make_release

from core.filters import And, Equal, Filter, OneOf, Or
from core.plan import Plan
from core.rules import RulesFile
from retrieval.pipeline import rules as applying
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.rules import product_types
from retrieval.pipeline.understand import understand
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.effects import NO_EFFECTS, Pin
from retrieval.rules.ruleset import NO_RULES, RuleSet
from retrieval.wire.request import Query

_ACME = Equal("brand", "Acme")


def parse(text: str) -> Filter:
    field, _, value = text.partition(" = ")
    return Equal(field, value)


@pytest.fixture
def served(tmp_path: Path) -> LoadedRelease:
    """Its words rewrite scarlet as red, and correct reed."""
    return make_release(tmp_path, words=FixedLexicalRetriever([0, 1]))


async def understood(served: LoadedRelease, text: str, *rules: dict[str, Any], **query: Any) -> RequestContext:
    file = RulesFile.model_validate({"rules": [{"id": f"r{n}"} | rule for n, rule in enumerate(rules)]})
    served.rules = RuleSet(file, "en", parse)
    context = RequestContext.start(Query(text, **query), Plan(), served, None)
    await understand(context)
    return context


async def test_a_request_without_rules_has_no_effects_and_matches_nothing(
    served: LoadedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RuleSet, "match", None)
    context = RequestContext.start(Query("mug"), Plan(), served, None)
    await understand(context)
    assert context.rules is NO_EFFECTS and context.filter is None
    assert context.result.rules == () and context.result.redirect == ""


async def test_a_rule_rewrites_what_is_searched(served: LoadedRelease) -> None:
    mug = {"when": {"phrases": ["mug"]}, "rewrite": "scarlet cup"}
    context = await understood(served, "big mugs", mug)
    assert context.query.text == context.result.searched_query == "red cup"  # the release's rewrite comes behind
    assert [(entry.rule_id, entry.action) for entry in context.result.rules] == [("r0", "rewrite")]


async def test_a_rewritten_query_keeps_its_price_unless_the_rule_has_one(served: LoadedRelease) -> None:
    file = {"rules": [{"id": "r", "when": {"phrases": ["mug"]}, "rewrite": "cup"}]}
    served.rules = RuleSet(RulesFile.model_validate(file), "en", parse)
    context = RequestContext.start(Query("mug under 20"), Plan(), served, None)
    bounds = await understand(context)
    assert context.query.text == "cup" and bounds is not None
    file["rules"][0]["rewrite"] = "cup under 10"
    served.rules = RuleSet(RulesFile.model_validate(file), "en", parse)
    context = RequestContext.start(Query("mug under 20"), Plan(), served, None)
    stated = await understand(context)
    assert context.query.text == "cup" and stated is not None and stated != bounds


async def test_verbatim_searches_as_typed_and_other_rules_apply(served: LoadedRelease) -> None:
    mug = {"when": {"phrases": ["mug"]}, "rewrite": "cup", "pin": ["p3"]}
    context = await understood(served, "scarlet reed mug", mug, verbatim=True)
    assert context.query.text == "scarlet reed mug" and not context.result.searched_query
    assert context.rules.pins == (Pin(1, "p3", "r0"),) and context.rules.rewrite is None


async def test_rules_match_the_query_as_typed_and_as_searched(served: LoadedRelease) -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"queries": ["reed mug"]}, "redirect": "/typed"},
        {"when": {"queries": ["red mug"]}, "pin": ["p1"]},
        {"when": {"queries": ["red mug"]}, "rewrite": "cup"},  # a correction is not rewritten
    ]
    context = await understood(served, "reed mug", *rules)
    assert context.query.text == "red mug"
    assert [(entry.rule_id, entry.action) for entry in context.result.rules] == [("r0", "redirect"), ("r1", "pin")]
    assert context.result.redirect == "/typed"


async def test_rules_that_are_published_meanwhile_are_for_the_next_request(served: LoadedRelease) -> None:
    rule = {"id": "r", "when": {"phrases": ["mug"]}, "rewrite": "cup", "redirect": "/mugs"}
    served.rules = RuleSet(RulesFile.model_validate({"rules": [rule]}), "en", parse)
    context = RequestContext.start(Query("mug"), Plan(), served, None)

    class Publishing(FixedLexicalRetriever):
        async def apply_rewrites(self, text: str) -> str:
            served.rules = NO_RULES  # between what matches and what is made of it
            return text

    served.words = Publishing([0])
    await understand(context)
    assert context.query.text == "cup" and context.result.redirect == "/mugs"
    later = RequestContext.start(Query("mug"), Plan(), served, None)
    await understand(later)
    assert later.query.text == "mug" and later.result.redirect == ""


async def test_filters_of_rules_join_the_request(served: LoadedRelease) -> None:
    context = await understood(served, "mug", {"filter": "color = red"}, {"filter": "brand = Acme"})
    assert context.filter == context.rules.filter == And((Equal("color", "red"), _ACME))


async def test_language_and_time_are_those_of_the_request(served: LoadedRelease) -> None:
    rules = [{"when": {"languages": ["en-IE"], "starts": "2030-01-01T00:00:00Z"}, "pin": ["p1"]}]
    context = await understood(served, "mug", *rules, language="en-ie")
    assert not context.rules
    context.now = 1_900_000_000.0  # in 2030
    await understand(context)
    assert context.rules.pins
    context.query = Query("mug")
    await understand(context)
    assert not context.rules


async def test_long_queries_and_many_matches_leave_the_event_loop(
    served: LoadedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    async def to_thread(work: Any, *arguments: Any) -> Any:
        threads.append(work.__name__)
        return work(*arguments)

    monkeypatch.setattr(applying, "on_thread", to_thread)
    one = {"when": {"phrases": ["mug"]}, "pin": ["p1"]}
    assert (await understood(served, "mug", one)).rules.pins and not threads
    assert (await understood(served, f"mug {'x' * 400}", one)).rules.pins and threads == ["match_apart"]
    assert (await understood(served, "mug", *[one] * 20)).rules.pins and threads[1:] == ["combine"]


@pytest.mark.parametrize(
    ("filter", "types"),
    [
        (None, []),
        (Equal("product_type", "Home"), ["Home"]),
        (OneOf("product_type", ("Home",)), ["Home"]),
        (OneOf("product_type", ("Home", "Tools")), []),
        (
            And((_ACME, Equal("product_type", "Home"), And((Equal("product_type", "Home > Mugs"),)))),
            ["Home", "Home > Mugs"],
        ),
        (Or((Equal("product_type", "Home"), _ACME)), []),
        (_ACME, []),
    ],
)
def test_the_filter_states_the_product_type(served: LoadedRelease, filter: Filter | None, types: list[str]) -> None:
    context = RequestContext.start(Query("mug"), Plan(), served, None)
    context.filter = filter
    assert product_types(context) == types
