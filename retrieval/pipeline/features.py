"""Computes the features of candidates, comparable between queries and between catalogs; see `ranker.features`."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from engine.lexical.index import CODES, Evidence, LexicalQuery
from ranker.features import FEATURE_NAMES, MISSING
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.coverage import name_coverage, weighted_share
from retrieval.understanding.agreement import Agreement

_FEW = 5
_Column = NDArray[np.float32] | np.float32


def code_matches(candidates: CandidateSet) -> NDArray[np.bool_]:
    """Which of c candidates a model number or GTIN of the query names, shape (c,): few hold it, and as a whole.

    Of those, the ones whose own it is, where there are any: others may be what goes with them.
    """
    result = np.zeros(len(candidates.rows), bool)
    if candidates.query is None or candidates.evidence is None:
        return result
    for place, word in enumerate(candidates.query.words):
        if word.is_code:
            few = (held for held in _holding(candidates.evidence, place) if 0 < np.count_nonzero(held) <= _FEW)
            result |= next(few, np.zeros_like(result))
    return result


def _holding(evidence: Evidence, place: int) -> Iterator[NDArray[np.bool_]]:
    """Which candidates hold the word at this place as a whole: as their own code and in their title, as their own code,
    anywhere; each of shape (c,)."""
    whole = evidence.matched[:, :, place] >= 1

    def within(*names: str) -> NDArray[np.bool_]:
        return np.asarray(whole[:, [field in names for field in evidence.fields]].any(1))

    yield within(CODES) & within("title")
    yield within(CODES)
    yield within(*evidence.fields)


def compute_features(
    candidates: CandidateSet, popularity: NDArray[np.float32], agreement: Agreement | None = None
) -> NDArray[np.float32]:
    """The features of c candidates that both sources scored, shape (c, f) in the order of the schema.

    `popularity` has shape (c,), NaN where it is not known. The cross-encoder's columns are missing, as are those of
    `agreement` without it.
    """
    assert candidates.dense and candidates.lexical and candidates.query and candidates.evidence, (
        "both sources take part"
    )
    similarity = candidates.dense.scores
    columns: dict[str, _Column] = {
        "rerank_probability": MISSING,
        "rerank_probability_gap": MISSING,
        "fused_score": candidates.scores,
        "cosine_similarity": similarity,
        "cosine_similarity_gap": similarity - similarity.max(initial=-1),
        **_lexical_features(candidates.query, candidates.evidence),
        "attribute_agreement": MISSING if agreement is None else agreement.attributes,
        "product_type_agreement": MISSING if agreement is None else agreement.product_type,
        "popularity_percentile": popularity,
        "popularity_percentile_gap": popularity - np.fmax.reduce(popularity, initial=MISSING),
    }
    return np.stack([np.broadcast_to(columns[name], len(candidates.rows)) for name in FEATURE_NAMES], 1).astype(
        np.float32
    )


def with_relevance(table: NDArray[np.float32], relevance: NDArray[np.float32]) -> NDArray[np.float32]:
    """The table of c candidates, shape (c, f), with the cross-encoder's probability of each, shape (c,), filled in."""
    names = FEATURE_NAMES
    result = table.copy()
    result[:, names.index("rerank_probability")] = relevance
    result[:, names.index("rerank_probability_gap")] = relevance - np.fmax.reduce(relevance, initial=MISSING)
    return result


def _lexical_features(query: LexicalQuery, evidence: Evidence) -> dict[str, _Column]:
    title = np.array([field == "title" for field in evidence.fields])
    total = max(float(np.array(query.weights, np.float32).sum()), 1e-6)
    anywhere = np.minimum(evidence.matched.max(1, initial=0), 1)
    in_title = np.minimum(evidence.matched[:, title].max(1, initial=0), 1)
    quantities = [place for place, word in enumerate(query.words) if word.unit]
    codes = [place for place, word in enumerate(query.words) if word.has_digit and not word.unit]
    names = [place for place, word in enumerate(query.words) if not word.has_digit]
    known = {word for term in query.terms for word in term.words}
    known |= {word for one in chain.from_iterable(query.synonyms) for word in one.words}
    return {
        "title_bm25": evidence.scores[:, title].sum(1) / total,
        "other_fields_bm25": evidence.scores[:, ~title].sum(1) / total,
        "term_coverage": weighted_share(query, anywhere),
        "title_term_coverage": weighted_share(query, in_title),
        "name_coverage_squared": np.square(name_coverage(query, evidence)),
        "last_term_match": anywhere[:, names[-1]] if names else MISSING,
        "code_coverage": _share(anywhere, codes),
        "quantity_coverage": _share(_whole(anywhere), quantities),
        "conflicting_quantities": (evidence.conflicting_quantity & (anywhere < 1))[:, quantities]
        .sum(1)
        .astype(np.float32),
        **_brand_features(query, evidence, anywhere),
        "query_length": np.float32(len(query.words)),
        "unknown_term_share": np.float32(1 - len(known) / max(len(query.words), 1)),
        "title_length": evidence.lengths[:, title].sum(1).astype(np.float32),
    }


def _brand_features(query: LexicalQuery, evidence: Evidence, anywhere: NDArray[np.float32]) -> dict[str, _Column]:
    brands = sorted(query.brands)
    if not brands:
        return {"brand_coverage": MISSING, "conflicting_brand_terms": np.float32(0)}
    stated = evidence.lengths[:, evidence.fields.index("brand")] > 0
    missed = (anywhere[:, brands] < 1).sum(1)
    return {
        "brand_coverage": _share(_whole(anywhere), brands),
        "conflicting_brand_terms": (stated * missed).astype(np.float32),
    }


def _whole(matched: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 where a word is found as a whole: half of 18V is another voltage."""
    return (matched >= 1).astype(np.float32)


def _share(matched: NDArray[np.float32], places: Sequence[int]) -> _Column:
    return matched[:, list(places)].mean(1) if places else MISSING
