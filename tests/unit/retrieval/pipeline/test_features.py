"""The features of candidates over a real lexical index, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import product
from wordings import lexical_index

from engine.lexical.query_parser import LexicalQueryParser
from ranker.features import FEATURE_NAMES, FEATURES
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet, SourceScores
from retrieval.pipeline.features import code_matches, compute_features, with_relevance

ROWS = [
    product("a", "18V cordless drill", brand="Makita"),
    product("b", "20V cordless drill", brand="Bosch"),
    product("c", "drill bits XR-5"),
    product("d", "garden hose", brand="Bosch", description="no cordless drill"),
]


def found_of(folder: Path, products: list[dict[str, Any]], text: str) -> CandidateSet:
    """All products, found by both sources in their order; similarities .9, .8, .7 and so on."""
    index = lexical_index(folder, products)
    rows = np.arange(len(products))
    query = LexicalQueryParser(index, "en").read(text)
    evidence = index.evidence(query, rows)
    similarity = (0.9 - 0.1 * rows).astype(np.float32)
    return CandidateSet(
        rows,
        (1 / (61 + rows)).astype(np.float32),
        {
            DENSE: SourceScores(similarity, rows + 1),
            LEXICAL: SourceScores(evidence.scores.sum(1), rows + 1),
        },
        query,
        evidence,
    )


UNKNOWN = [float("nan")] * 4


def feature_values(
    folder: Path, text: str, relevance: list[float] = UNKNOWN, popularity: list[float] = UNKNOWN
) -> dict[str, list[float]]:
    """Each feature of the four products for a query."""
    table = compute_features(found_of(folder, ROWS, text), np.array(popularity, np.float32))
    assert np.isnan(table[:, :2]).all(), "the cross-encoder has not spoken yet"
    table = with_relevance(table, np.array(relevance, np.float32))
    assert table.shape == (4, len(FEATURE_NAMES)) and table.dtype == np.float32
    return {name: table[:, place].tolist() for place, name in enumerate(FEATURE_NAMES)}


@pytest.mark.parametrize("text", ["drill", "18V Makita drill XR-500B", "500 unheard", "of"])
def test_values_are_missing_in_optional_columns_alone(tmp_path: Path, text: str) -> None:
    missing = {name for name, column in feature_values(tmp_path, text).items() if np.isnan(column).any()}
    assert missing <= {feature.name for feature in FEATURES if feature.optional}


def test_what_the_models_said(tmp_path: Path) -> None:
    values = feature_values(tmp_path, "drill", [0.9, 0.5, float("nan"), float("nan")])
    probability = values["rerank_probability"]
    assert probability[:2] == pytest.approx([0.9, 0.5]) and np.isnan(probability[2:]).all()
    assert values["cosine_similarity"] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert values["cosine_similarity_gap"] == pytest.approx([0, -0.1, -0.2, -0.3], abs=1e-6)
    assert values["rerank_probability_gap"][:2] == pytest.approx([0, -0.4])
    assert np.isnan(values["rerank_probability_gap"][2:]).all()
    assert np.isnan(feature_values(tmp_path / "unheard", "drill")["rerank_probability_gap"]).all()


def test_popularity_is_told_alone_and_beside_the_most_popular(tmp_path: Path) -> None:
    values = feature_values(tmp_path, "drill", popularity=[0.25, 0.75, float("nan"), 0.5])
    assert values["popularity_percentile"] == pytest.approx([0.25, 0.75, float("nan"), 0.5], nan_ok=True)
    assert values["popularity_percentile_gap"] == pytest.approx([-0.5, 0, float("nan"), -0.25], nan_ok=True)
    unknown = feature_values(tmp_path / "b", "drill")
    assert np.isnan(unknown["popularity_percentile"]).all() and np.isnan(unknown["popularity_percentile_gap"]).all()


def test_what_fusion_gave_and_how_much_the_names_cover(tmp_path: Path) -> None:
    """Of two words of one weight, a and b hold both in their names, c the second; d has both in its description."""
    values = feature_values(tmp_path, "cordless drill")
    assert values["fused_score"] == pytest.approx([1 / 61, 1 / 62, 1 / 63, 1 / 64])
    full, half = values["name_coverage_squared"][:2], values["name_coverage_squared"][2]
    assert full == pytest.approx([1, 1]) and values["name_coverage_squared"][3] == 0
    assert half == pytest.approx(values["title_term_coverage"][2] ** 2) and 0 < half < 1


def test_words_are_counted_as_shares(tmp_path: Path) -> None:
    values = feature_values(tmp_path, "cordless drill zzzz")
    assert values["query_length"] == [3] * 4
    assert values["unknown_term_share"] == pytest.approx([1 / 3] * 4)
    # drill and cordless in d's description alone.
    assert values["term_coverage"][0] == values["term_coverage"][3] > values["term_coverage"][2] > 0
    assert values["title_term_coverage"][3] == 0 < values["title_term_coverage"][2]
    assert values["title_bm25"][3] == 0 < values["other_fields_bm25"][3]
    assert values["title_length"] == [4, 4, 4, 2]  # 18v, 18, cordless, drill; drill, bit, xr5, xr


def test_the_last_word_that_is_no_number_is_what_is_wanted(tmp_path: Path) -> None:
    assert feature_values(tmp_path, "cordless drill 18V")["last_term_match"] == [1, 1, 1, 1]
    assert feature_values(tmp_path / "b", "drill bits")["last_term_match"] == [0, 0, 1, 0]
    assert np.isnan(feature_values(tmp_path / "c", "18V")["last_term_match"]).all()


def test_quantities_are_found_or_others_stated(tmp_path: Path) -> None:
    values = feature_values(tmp_path, "drill 18 volt")
    assert values["quantity_coverage"] == [1, 0, 0, 0]
    assert values["conflicting_quantities"] == [0, 1, 0, 0]
    assert np.isnan(feature_values(tmp_path / "b", "drill")["quantity_coverage"]).all()


def test_codes_are_found_whole_or_in_part(tmp_path: Path) -> None:
    assert feature_values(tmp_path, "xr5")["code_coverage"] == [0, 0, 1, 0]
    assert feature_values(tmp_path / "b", "xr-7")["code_coverage"] == pytest.approx([0, 0, 0.5, 0])


def test_brands_are_found_or_others_stated(tmp_path: Path) -> None:
    values = feature_values(tmp_path, "makita drill")
    assert values["brand_coverage"] == [1, 0, 0, 0]
    assert values["conflicting_brand_terms"] == [0, 1, 0, 1]
    values = feature_values(tmp_path / "b", "drill")
    assert np.isnan(values["brand_coverage"]).all() and values["conflicting_brand_terms"] == [0] * 4


def test_a_code_names_the_product_whose_own_it_is(tmp_path: Path) -> None:
    servers = [product(f"s{i}", f"server {i}", attributes=[("processor", "Xeon X5560 2.8 GHz")]) for i in range(9)]
    upgrade = product("u", "Xeon X5560 upgrade kit")
    board = product("b", "main board", attributes=[("processor", "X5560")])
    processor = product("p", "Intel Xeon X5560", attributes=[("name", "X5560")])

    def names(*products: dict[str, Any], query: str = "x5560") -> list[str]:
        candidates = found_of(tmp_path, list(products), query)
        return [entry["id"] for entry, chosen in zip(products, code_matches(candidates), strict=True) if chosen]

    assert names(*servers, upgrade, board, processor) == ["p"]
    assert names(*servers, upgrade, board) == ["b"]
    assert names(*servers, upgrade) == []  # too many hold it, and it is none's own
    assert names(*servers[:3], upgrade) == ["s0", "s1", "s2", "u"]
    assert names(*servers, upgrade, processor, query="server s3 with x5560") == ["p"]
    assert names(upgrade, processor, query="xeon") == []
