"""What a final score chooses and is worth: weights and depths by hand, and nothing gained where there is only noise."""

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.measures import estimate
from lifecycle.final_score.learning import (
    FINAL,
    FUSED,
    PRERANKED,
    RERANKED,
    GradedQueries,
    QueryCandidates,
    Values,
    choose,
    choose_depth,
    evaluate_held_out,
    fused_scores,
    tune_ratio,
)
from ranker.features import FEATURE_NAMES
from ranker.train.final import FinalTraining
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet, SourceScores

SETTINGS = FinalTraining(candidates=10, rerank_depth=8, leaves=4, least=5, rounds=40, patience=10, folds=3, threads=1)
CANDIDATES = 12


def candidate_set(dense: list[int], lexical: list[int]) -> CandidateSet:
    """Candidates and the ranks that either source found them at."""
    nothing = np.zeros(len(dense), np.float32)
    sources = (SourceScores(nothing, np.array(ranks, np.int64)) for ranks in (dense, lexical))
    return CandidateSet(np.arange(len(dense)), nothing, dict(zip((DENSE, LEXICAL), sources, strict=True)))


def make_query(entry: CandidateSet) -> QueryCandidates:
    count = len(entry.rows)
    features = np.zeros((count, len(FEATURE_NAMES)), np.float32)
    return QueryCandidates("q", entry, features, np.full(count, np.nan, np.float32), [f"p{i}" for i in range(count)])


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.5, [1 / 61, 0.5 / 61, 1 / 62 + 0.5 / 62]), (2.0, [0.5 / 61, 1 / 61, 0.5 / 62 + 1 / 62])],
)
def test_ratios_above_one_take_from_the_towers(ratio: float, expected: list[float]) -> None:
    scores = fused_scores(candidate_set([1, 0, 2, 0, 0], [0, 1, 2, 0, 0]), ratio)
    assert scores == pytest.approx([*expected, 0, 0])


def test_the_ratio_is_the_one_that_ranks_best() -> None:
    entry = make_query(candidate_set([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]))
    assert tune_ratio([entry], GradedQueries({"q": {"p4": 3.0}}, 0.0)) > 1
    assert tune_ratio([entry], GradedQueries({"q": {"p0": 3.0}}, 0.0)) < 1


@pytest.mark.parametrize(
    ("worth", "expected"),
    [
        ({20: 0.5, 16: 0.4995, 12: 0.4971, 8: 0.4969, 4: 0.6}, 12),  # what is good by chance below is not reached
        ({20: 0.5, 16: 0.4}, 20),
        ({20: 0.5, 16: 0.5, 12: 0.5, 8: 0.5, 4: 0.5}, 4),
        ({20: 0.4}, 0),  # no better than without
        ({20: 0.401, 16: 0.4}, 20),
    ],
)
def test_no_more_are_rescored_than_pay(worth: dict[int, float], expected: int) -> None:
    settings = SETTINGS.model_copy(update={"rerank_depth": 20})
    assert (
        choose_depth(settings, {"a": 0.5, "b": 0.3}, lambda d: {"a": worth[d] + 0.1, "b": worth[d] - 0.1}) == expected
    )


def test_what_may_cost_more_than_is_allowed_counts_as_too_much() -> None:
    """The mean does not change, yet each query may lose 0.2."""
    even, uneven = {str(i): 0.5 for i in range(8)}, {str(i): 0.3 + 0.4 * (i % 2) for i in range(8)}
    settings = SETTINGS.model_copy(update={"rerank_depth": 8})
    assert choose_depth(settings, dict.fromkeys(even, 0.1), lambda depth: even if depth == 8 else uneven) == 8


def test_a_gain_that_may_be_chance_is_no_reason_to_rescore() -> None:
    """Up by .01 in the mean: half of the queries by .2, and the others down by .18."""
    before, after = {str(i): 0.5 for i in range(8)}, {str(i): 0.7 - 0.38 * (i % 2) for i in range(8)}
    assert choose_depth(SETTINGS.model_copy(update={"rerank_depth": 8}), before, lambda _: after) == 0


def noise(
    queries: int, make_relevance: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> tuple[list[QueryCandidates], GradedQueries]:
    """Features, ranks and grades of no rule at all; relevance is what `make_relevance` makes of the grades."""
    random = np.random.default_rng(7)
    entries, grades = [], {}
    for number in range(queries):
        ranks = [(1 + random.permutation(CANDIDATES)).tolist() for _ in range(2)]
        table = random.random((CANDIDATES, len(FEATURE_NAMES))).astype(np.float32)
        truth = random.permutation([3.0, 2.0, 1.0] + [0.0] * (CANDIDATES - 3))
        ids = [f"p{i}" for i in range(CANDIDATES)]
        grades[f"q{number}"] = dict(zip(ids, truth.tolist(), strict=True))
        relevance = make_relevance(truth, random).astype(np.float32)
        entries.append(QueryCandidates(f"q{number}", candidate_set(*ranks), table, relevance, ids))
    return entries, GradedQueries(grades, 0.0)


def gain(values: dict[str, Values], over: str) -> tuple[float, float]:
    """The mean difference of the final score and its standard error."""
    differences = np.array([values[FINAL][query] - value for query, value in values[over].items()])
    return float(differences.mean()), float(differences.std() / np.sqrt(len(differences)))


def test_noise_gains_nothing_in_what_is_reported() -> None:
    """By trees that stop on the queries which they are measured by it is .053 of nDCG@10."""
    entries, judged = noise(96, lambda truth, random: random.random(CANDIDATES))
    eager = {"rounds": 40, "patience": 40, "learning_rate": 0.5, "folds": 8, "seed": 1}
    settings = SETTINGS.model_copy(update=eager)
    values = evaluate_held_out(entries, judged, settings)
    assert {stage: len(by_query) for stage, by_query in values.items()} == dict.fromkeys(
        (FUSED, RERANKED, PRERANKED, FINAL), 96
    )
    assert abs(gain(values, FUSED)[0]) < 0.02
    assert choose(entries, judged, settings).depth == 0


def test_a_cross_encoder_that_knows_the_grades_is_rescored_with_and_gains_as_much_as_it_is_worth() -> None:
    entries, judged = noise(90, lambda truth, random: truth / 4 + 0.1 * random.random(CANDIDATES))
    choice = choose(entries, judged, SETTINGS)
    assert choice.depth > 0
    mean, error = gain(evaluate_held_out(entries, judged, SETTINGS), PRERANKED)
    assert mean > 0.1 > 3 * error


def test_no_query_is_measured_by_a_choice_that_heard_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, judged = noise(12, lambda truth, random: truth)
    chosen: list[set[str]] = []
    settings = SETTINGS.model_copy(update={"rounds": 2})

    def noting(inside: list[QueryCandidates], *given: object) -> object:
        chosen.append({entry.query for entry in inside})
        return choose(inside, *given)  # type: ignore[arg-type]

    monkeypatch.setattr("lifecycle.final_score.learning.choose", noting)
    values = evaluate_held_out(entries, judged, settings)
    everything = {entry.query for entry in entries}
    outside = [everything - inside for inside in chosen]
    assert len(chosen) == 3 and all(len(part) == 4 for part in outside)
    assert set.union(*outside) == everything == set(values[FINAL])
    assert estimate(list(values[FINAL].values())).queries == 12
