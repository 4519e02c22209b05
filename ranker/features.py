"""The feature schema of the final score: a name that never changes its meaning for each column of the table.

A release keeps the names that its trees were trained on, and a final score takes its columns by name. So a feature is
added at any place, and one is never renamed: another meaning needs another name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

MISSING = np.float32(np.nan)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. More of it may only raise (`monotonicity` 1), only lower (-1), or do either (0) to the score.

    `label` is the text by which people read it, and its name up to format 4; `description` is for the reference. An
    `optional` one is NaN where there is no value; the others always have one.
    """

    name: str
    label: str
    monotonicity: Literal[-1, 0, 1]
    description: str
    optional: bool = False


# BM25 as a share of the best candidate's, and standardised values, are left out: scores trained on some shops with them
# rank other shops worse. A gap is the difference from the best candidate's value, 0 at most.
FEATURES: tuple[Feature, ...] = (
    Feature(
        "rerank_probability",
        "relevance",
        1,
        "The cross-encoder's probability; missing where it was not computed.",
        optional=True,
    ),
    Feature("rerank_probability_gap", "relevance to the best", 1, "Gap of `rerank_probability`.", optional=True),
    Feature(
        "fused_score",
        "fused",
        1,
        "The score of fusion: reciprocal ranks, and how much of the query the product's names cover.",
    ),
    Feature("cosine_similarity", "similarity", 1, "Cosine of the bi-encoder's vectors."),
    Feature("cosine_similarity_gap", "similarity to the best", 1, "Gap of `cosine_similarity`."),
    Feature(
        "title_bm25",
        "words in the title",
        1,
        "BM25 of the title, for each unit of the query's inverse document frequencies.",
    ),
    Feature("other_fields_bm25", "words elsewhere", 1, "The same of all other fields."),
    Feature(
        "term_coverage",
        "coverage",
        1,
        "Share of the query's words that any field holds, by inverse document frequency.",
    ),
    Feature("title_term_coverage", "coverage by the title", 1, "The same of the title alone."),
    Feature(
        "name_coverage_squared",
        "coverage by the names",
        1,
        "The same of all fields that name the product, squared: the last word that is missing counts most.",
    ),
    Feature(
        "last_term_match",
        "last word",
        1,
        "How well the last word that is no quantity matches: in many languages the thing that is wanted.",
        optional=True,
    ),
    Feature(
        "code_coverage",
        "codes",
        1,
        "Share of the words with digits, quantities left out, that match; missing where the query has none.",
        optional=True,
    ),
    Feature(
        "quantity_coverage",
        "quantities",
        1,
        "Share of the quantities that match; missing where the query has none.",
        optional=True,
    ),
    Feature(
        "conflicting_quantities",
        "other quantities",
        -1,
        "Quantities without a match where the product states another one in that unit.",
    ),
    Feature(
        "brand_coverage",
        "brand",
        1,
        "Share of the brand's words that match; missing where the query has none.",
        optional=True,
    ),
    Feature(
        "conflicting_brand_terms", "other brand", -1, "Brand words without a match where the product has another brand."
    ),
    Feature(
        "attribute_agreement",
        "stated attributes",
        1,
        "Share of the attributes that the query states which the product has, by their confidence; missing where it "
        "states none.",
        optional=True,
    ),
    Feature(
        "product_type_agreement",
        "product type",
        1,
        "Probability that the query means the product's type; missing where no type is predicted.",
        optional=True,
    ),
    Feature("query_length", "query words", 0, "Number of the query's words."),
    Feature("unknown_term_share", "unknown words", 0, "Share of the query's words that no product holds."),
    Feature("title_length", "title terms", 0, "Number of the title's terms."),
    Feature(
        "popularity_percentile",
        "popularity",
        1,
        "Share of the catalog's products that are less popular; missing where the feed does not say.",
        optional=True,
    ),
    Feature("popularity_percentile_gap", "popularity to the best", 1, "Gap of `popularity_percentile`.", optional=True),
)
FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
# The weighted sum that is learned from several shops takes what means the same in each. What a query has of itself
# moves no candidate there, nor does a gap beside the value itself.
PORTABLE_FEATURES = (
    "rerank_probability",
    "fused_score",
    "cosine_similarity",
    "title_bm25",
    "other_fields_bm25",
    "term_coverage",
    "title_term_coverage",
    "name_coverage_squared",
    "last_term_match",
    "code_coverage",
    "quantity_coverage",
    "conflicting_quantities",
    "brand_coverage",
    "conflicting_brand_terms",
    "attribute_agreement",
    "product_type_agreement",
)
# Trees of one shop do without what says the ranks again.
TREE_FEATURES = tuple(name for name in FEATURE_NAMES if name not in ("fused_score", "name_coverage_squared"))
MONOTONICITY = {feature.name: feature.monotonicity for feature in FEATURES}
LABELS = {feature.name: feature.label for feature in FEATURES}


def names_of_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The names of features that are given by the labels of format 4; other names stay unchanged."""
    by_label = {label: name for name, label in LABELS.items()}
    return tuple(by_label.get(label, label) for label in labels)


def unknown_features(names: Iterable[str], schema: Sequence[str] = FEATURE_NAMES) -> list[str]:
    """The names that the schema lacks, in their order."""
    return [name for name in names if name not in schema]
