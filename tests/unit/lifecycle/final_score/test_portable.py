"""A final score of several shops: gains by hand, choices that hold in shops left out, and no rescoring by noise."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lifecycle.final_score import portable as module
from lifecycle.final_score.learning import FINAL, FUSED, PRERANKED, GradedQueries, QueryCandidates
from lifecycle.final_score.portable import (
    ShopQueries,
    learn_portable,
    leave_one_out,
    mean_of_shops,
    surely_loses,
)
from ranker.features import FEATURE_NAMES
from ranker.train.final import FinalTraining
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet, SourceScores

CANDIDATES = 10
SETTINGS = FinalTraining(candidates=10, rerank_depth=6)
Relevance = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def no_relevance(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.full(len(truth), np.nan)


def make_shop(
    name: str, signal: str, queries: int = 40, relevance: Relevance = no_relevance, made_up: bool = False
) -> ShopQueries:
    """One product of ten is good, at random; feature `signal` is higher by .5 for it, all else is noise."""
    random = np.random.default_rng(sum(map(ord, name)))
    entries, grades = [], {}
    for number in range(queries):
        truth = np.zeros(CANDIDATES)
        truth[random.integers(CANDIDATES)] = 1
        table = random.random((CANDIDATES, len(FEATURE_NAMES))).astype(np.float32)
        table[:, FEATURE_NAMES.index(signal)] += 0.5 * truth
        ranks = [1 + random.permutation(CANDIDATES) for _ in range(2)]
        nothing = np.zeros(CANDIDATES, np.float32)
        sources = {source: SourceScores(nothing, own) for source, own in zip((DENSE, LEXICAL), ranks, strict=True)}
        found = CandidateSet(np.arange(CANDIDATES), nothing, sources)
        ids = [f"p{place}" for place in range(CANDIDATES)]
        query = f"{name} {number}"
        entries.append(QueryCandidates(query, found, table, relevance(truth, random).astype(np.float32), ids))
        grades[query] = dict(zip(ids, truth.tolist(), strict=True))
    return ShopQueries(name, entries, GradedQueries(grades, 0.0), 1.0, made_up)


def test_gains_are_those_of_one_range_of_grades_in_all_shops() -> None:
    """Grades of 1 to 3 and of 1 to 4: the worst is worth 0, the best 2^2 - 1, and the middle 2^1 - 1."""
    entry = make_shop("a", "title_bm25", 1).queries[0]
    for lowest, highest in ((1.0, 3.0), (1.0, 4.0), (0.0, 1.0)):
        middle = (lowest + highest) / 2
        grades = GradedQueries({entry.query: {"p0": highest, "p1": middle, "p2": lowest}}, lowest)
        gains = ShopQueries("a", [entry], grades, highest).gains(entry)
        assert gains[:4] == pytest.approx([3, 1, 0, 0])


def test_shops_count_alike_whatever_their_queries() -> None:
    """Means .3 and -.1; errors sqrt(.02/2) = .1 and 0."""
    mean, error = mean_of_shops([[0.2, 0.4], [-0.1] * 50])
    assert mean == pytest.approx(0.1) and error == pytest.approx(0.05)
    assert surely_loses([-0.1] * 50) and not surely_loses([-0.3, 0.1]) and not surely_loses([-0.1])


def test_a_shop_with_five_times_the_queries_has_no_more_say() -> None:
    """Each query five times over says nothing new; by its weight alone the shop's own signal would outgrow others'."""
    shops = [make_shop(n, f, 20) for n, f in (("a", "cosine_similarity"), ("b", "title_bm25"), ("c", "title_bm25"))]
    many = [replace(shops[0], queries=[*shops[0].queries] * 5), *shops[1:]]
    one, other = learn_portable(shops, SETTINGS), learn_portable(many, SETTINGS)
    assert one.ridge is not None and one.ridge == other.ridge
    assert one.first_weights["cosine_similarity"] > 0
    assert other.first_weights == pytest.approx(one.first_weights, rel=0.02, abs=1e-3)


def test_what_holds_in_every_shop_is_learned_and_holds_in_those_left_out() -> None:
    shops = [make_shop(name, "cosine_similarity") for name in ("a", "b", "c")]
    model = learn_portable(shops, SETTINGS)
    assert max(model.first_weights, key=lambda name: model.first_weights[name]) == "cosine_similarity"
    for entry in leave_one_out(shops, SETTINGS):
        assert entry.over_fused().difference.low > 0.1 and entry.model.depth == 0
        assert entry.values[FINAL] == entry.values[PRERANKED]


def test_no_shop_is_measured_by_what_learned_from_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shops = [make_shop(name, "cosine_similarity", 12) for name in ("a", "b", "c")]
    learned_from: list[set[str]] = []

    def noting(others: list[ShopQueries], settings: FinalTraining) -> object:
        learned_from.append({shop.name for shop in others})
        return learn_portable(others, settings)

    monkeypatch.setattr(module, "learn_portable", noting)
    left = leave_one_out(shops, SETTINGS)
    assert [entry.shop.name for entry in left] == ["a", "b", "c"]
    assert learned_from == [{"b", "c"}, {"a", "c"}, {"a", "b"}]
    assert all(len(entry.values[FUSED]) == 12 for entry in left)


def test_what_holds_in_one_shop_alone_leaves_fusion_s_order() -> None:
    """What each shop learns from the two others is noise to it."""
    shops = [make_shop(n, f) for n, f in (("a", "cosine_similarity"), ("b", "title_bm25"), ("c", "code_coverage"))]
    for shop in shops:  # where good products are also found first, another order can only lose
        for entry in shop.queries:
            good = int(np.argmax(list(shop.grades.grades[entry.query].values())))
            for source in entry.found.sources.values():
                first = int(np.flatnonzero(source.ranks == 1)[0])
                source.ranks[[good, first]] = source.ranks[[first, good]]
    model = learn_portable(shops, SETTINGS)
    for shop in shops:
        fused = shop.fusion[1.0]
        assert model.ratio == 1 and min(fused.values()) == 1
        scored = module.score_shop(shop, model, SETTINGS)
        assert scored[FINAL] == fused


def test_made_up_queries_do_not_outvote_judged_ones() -> None:
    """By the words of titles alone the queries that were made of titles gain, and the judged ones lose."""
    judged = [make_shop(name, "cosine_similarity") for name in ("a", "b")]
    made_up = [make_shop(name, "title_bm25", made_up=True) for name in ("c", "d", "e")]
    model = learn_portable([*judged, *made_up], SETTINGS)
    values = [module.score_shop(shop, model, SETTINGS) for shop in judged]
    assert all(np.mean(list(v[FINAL].values())) > np.mean(list(v[FUSED].values())) for v in values)


def noisy(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.random(len(truth))


def knowing(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 0.6 * truth + 0.4 * random.random(len(truth))


def contrary(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 0.6 * (1 - truth) + 0.4 * random.random(len(truth))


@pytest.mark.parametrize(
    ("relevances", "expected"),
    [
        ((noisy, noisy, noisy), 0),
        ((knowing, knowing, knowing), 6),
        ((knowing, knowing, contrary), 0),  # one shop left out surely loses
        ((no_relevance, no_relevance, no_relevance), 0),
        ((knowing, no_relevance, no_relevance), 0),  # nowhere to see whether it holds elsewhere
    ],
)
def test_candidates_are_rescored_where_that_pays_in_shops_left_out(
    relevances: tuple[Relevance, ...], expected: int
) -> None:
    shops = [make_shop(n, "cosine_similarity", 60, r) for n, r in zip("abc", relevances, strict=True)]
    assert learn_portable(shops, SETTINGS).depth == expected
    none = SETTINGS.model_copy(update={"rerank_depth": 0})
    assert learn_portable(shops, none).depth == 0


def test_another_fusion_than_that_of_equal_weights_has_to_gain_surely_and_to_lose_nowhere() -> None:
    def found_by(shop: ShopQueries, source: str) -> ShopQueries:
        """The source has the good product first, the other last."""
        entries = []
        for entry in shop.queries:
            good = int(np.argmax(list(shop.grades.grades[entry.query].values())))
            order = [good, *(place for place in range(CANDIDATES) if place != good)]
            ranks = np.empty(CANDIDATES, np.int64)
            ranks[order] = 1 + np.arange(CANDIDATES)
            own = {source: SourceScores(entry.found.sources[source].scores, ranks)}
            other = DENSE if source == LEXICAL else LEXICAL
            own[other] = SourceScores(entry.found.sources[other].scores, CANDIDATES + 1 - ranks)
            entries.append(replace(entry, found=replace(entry.found, sources=own)))
        return replace(shop, queries=entries)

    words = [found_by(make_shop(name, "title_length"), LEXICAL) for name in ("a", "b", "c")]
    assert learn_portable(words, SETTINGS).ratio > 1
    towers = found_by(make_shop("d", "title_length"), DENSE)
    assert learn_portable([*words, towers], SETTINGS).ratio == 1
