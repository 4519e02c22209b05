"""The schema of the final score's features."""

import re

from ranker.features import (
    FEATURE_NAMES,
    FEATURES,
    LABELS,
    MONOTONICITY,
    PORTABLE_FEATURES,
    TREE_FEATURES,
    names_of_labels,
    unknown_features,
)

# What releases hold. A name is never taken away and never gets another meaning; a new one is added here.
_RELEASED = {
    "rerank_probability", "rerank_probability_gap", "cosine_similarity", "cosine_similarity_gap", "title_bm25",
    "other_fields_bm25", "term_coverage", "title_term_coverage", "last_term_match", "code_coverage",
    "quantity_coverage", "conflicting_quantities", "brand_coverage", "conflicting_brand_terms", "query_length",
    "unknown_term_share", "title_length", "popularity_percentile", "popularity_percentile_gap", "fused_score",
    "name_coverage_squared",
}  # fmt: skip


def test_names_are_stable_identifiers() -> None:
    assert set(FEATURE_NAMES) >= _RELEASED and len(set(FEATURE_NAMES)) == len(FEATURES)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in FEATURE_NAMES)
    assert len(set(LABELS.values())) == len(FEATURES)


def test_what_trees_and_weights_take_is_of_the_schema() -> None:
    assert set(TREE_FEATURES) == set(FEATURE_NAMES) - {"fused_score", "name_coverage_squared"}
    assert set(PORTABLE_FEATURES) < set(FEATURE_NAMES)


def test_more_of_a_conflict_may_only_lower_the_score() -> None:
    assert {name for name, sign in MONOTONICITY.items() if sign < 0} == {
        "conflicting_quantities",
        "conflicting_brand_terms",
    }
    assert MONOTONICITY["cosine_similarity"] == 1 and MONOTONICITY["title_length"] == 0


def test_labels_lead_to_names_and_unknown_ones_stay() -> None:
    assert names_of_labels(["coverage", "brand", "moon phase"]) == ("term_coverage", "brand_coverage", "moon phase")
    assert unknown_features(["brand_coverage", "moon phase"]) == ["moon phase"]
    assert unknown_features(FEATURE_NAMES) == []
