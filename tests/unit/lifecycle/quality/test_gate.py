"""The rules of the gate, each by a comparison that just keeps it and one that just breaks it."""

from dataclasses import replace

import pytest
from comparisons import comparison, pair
from pydantic import ValidationError

from evaluation.comparison import PairedComparison
from lifecycle.quality.comparison import Comparison
from lifecycle.quality.gate import GateSettings, Rule, RuleResult, Verdict, judge


def holds(comparison: Comparison, rule: Rule, **settings: object) -> bool | None:
    verdict = judge(comparison, GateSettings(**settings))  # type: ignore[arg-type]
    [result] = [finding.holds for finding in verdict.findings if finding.rule == rule]
    return result


def test_a_good_candidate_is_released() -> None:
    verdict = judge(comparison(), GateSettings())
    assert verdict.released and (verdict.candidate, verdict.against) == ("r-b", "r-a")
    assert [finding.rule for finding in verdict.findings] == list(Rule)


@pytest.mark.parametrize(("low", "kept"), [(-0.005, True), (-0.0051, False)])
def test_the_low_end_of_the_interval_decides(low: float, kept: bool) -> None:
    assert holds(comparison(ndcg=pair(0.01, low)), Rule.NDCG_NOT_WORSE) is kept
    assert holds(comparison(recall=pair(0.01, low)), Rule.RECALL_NOT_WORSE) is kept
    assert judge(comparison(ndcg=pair(0.01, low)), GateSettings()).released is kept


@pytest.mark.parametrize(
    ("slices", "kept"),
    [
        ({"a": pair(-0.04, -0.1)}, False),
        ({"a": pair(-0.02, -0.1)}, True),  # not much
        ({"a": pair(-0.04, -0.1, queries=29)}, None),  # too few to tell
        ({"a": pair(-0.04, -0.1, p=0.06)}, True),  # may be chance
        ({"a": pair(-0.04, -0.1, p=0.03), "b": pair(0, 0, p=1.0)}, True),  # Holm: .03 * 2
        ({"a": pair(-0.04, -0.1, p=0.03), "b": pair(0, 0, queries=29)}, False),  # of those large enough
        ({"a": pair(0.04, 0.01)}, True),
    ],
)
def test_a_slice_refuses_when_it_loses_much_and_surely(slices: dict[str, PairedComparison], kept: bool | None) -> None:
    assert holds(comparison(slices=slices), Rule.NO_SLICE_MUCH_WORSE) is kept


def test_the_slice_that_refuses_is_named() -> None:
    verdict = judge(comparison(slices={"misspelt": pair(-0.04, -0.1)}), GateSettings())
    [seen] = [finding.seen for finding in verdict.findings if finding.rule == Rule.NO_SLICE_MUCH_WORSE]
    assert seen == "misspelt nDCG@10 -0.040, p 0.010"


def test_random_order_has_to_be_beaten() -> None:
    assert holds(comparison(lift=pair(0.1, 0.01)), Rule.BETTER_THAN_RANDOM) is True
    assert holds(comparison(lift=pair(0.1, 0.0)), Rule.BETTER_THAN_RANDOM) is False


def test_probabilities_have_to_be_true() -> None:
    assert holds(comparison(error=0.1), Rule.CALIBRATION) is True
    assert holds(comparison(error=0.11), Rule.CALIBRATION) is False
    assert holds(comparison(error=0.11), Rule.CALIBRATION, calibration_error=0.2) is True


def test_what_cannot_be_judged_refuses_nothing() -> None:
    other = comparison(error=None)
    other = replace(other, measures=[row for row in other.measures if row.measure == "pool nDCG@10"])
    verdict = judge(other, GateSettings())
    unjudged = {finding.rule for finding in verdict.findings if finding.holds is None}
    assert unjudged == {Rule.NDCG_NOT_WORSE, Rule.RECALL_NOT_WORSE, Rule.CALIBRATION}
    assert verdict.released


def test_a_release_of_which_nothing_is_known_is_refused() -> None:
    assert not Verdict("b", "a", [RuleResult(Rule.CALIBRATION, "", "", None)]).released


def test_only_the_rules_asked_for_are_judged() -> None:
    verdict = judge(comparison(error=0.9), GateSettings(rules=(Rule.RECALL_NOT_WORSE,)))
    assert verdict.released and len(verdict.findings) == 1
    with pytest.raises(ValidationError):
        GateSettings(rules=())
