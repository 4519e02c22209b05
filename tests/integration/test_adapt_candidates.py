"""What an adaptation measures is what a release serves, and the check sees better towers as better."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shops import write_feed

from core.plan import Plan
from core.progress import Silent
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from lifecycle.adapt.candidates import ServedWords, Towers, fused_orders
from lifecycle.adapt.check import ALL, HeldOut, check_adapted
from lifecycle.adapt.labels import RANKER, ranks_in_pools, vote, voter_quality
from lifecycle.adapt.queries import ShopQuery
from lifecycle.adapt.served import Served, final_beside
from lifecycle.adapt.shop import ShopFiles, UnjudgedShop, read_shop
from lifecycle.adapt.voters import SCORED, ask_ranker, ask_voters, read_queries
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from lifecycle.training.scoring import Teacher
from ranker.features import PORTABLE_FEATURES
from ranker.final import FinalScore, FinalSpec
from ranker.ranker import Ranker
from ranker.train.final import write_final
from retrieval.pipeline.search import search
from retrieval.server.admission import Admission
from retrieval.wire.request import Query

QUERIES = ["red kettle", "hiknig boots", "cordless drill blue", "zzz", "lamp"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> UnjudgedShop:
    feed = write_feed(tmp_path_factory.mktemp("shop") / "a.jsonl", "a-")
    return read_shop(ShopFiles(feed), 1000, Silent())


def test_candidates_score_as_a_release_scores_them(
    shop: UnjudgedShop, indexed: ReleaseStore, encoder_dir: Path
) -> None:
    towers = Towers(encoder_dir, shop.texts)
    words = ServedWords(shop, towers.spec)
    read = [words.read(query, Plan().lexical_candidates) for query in QUERIES]
    ours = fused_orders(words, read, towers.queries([query.text for query in read]), towers.items)
    release = open_place(find_release(indexed, "default", CURRENT))
    try:
        for query, candidates in zip(QUERIES, ours, strict=True):
            with Admission(1).enter() as permit:
                answer = asyncio.run(search(Query(query, top_k=30), Plan(rerank_depth=0), release, permit, None))
            rows = answer.candidates.rows.tolist()
            served = dict(zip(map(release.columns.id, rows), answer.candidates.scores.tolist(), strict=True))
            scored = zip(candidates.rows.tolist(), candidates.scores.tolist(), strict=True)
            # Vectors of a release have half precision: neighbours may change places, .0003 apart.
            assert {shop.rows[row]["id"]: score for row, score in scored} == pytest.approx(served, abs=2e-3)
    finally:
        release.retire()


def test_products_that_hold_every_word_fit_a_query(shop: UnjudgedShop, encoder_dir: Path) -> None:
    words = ServedWords(shop, BiEncoder.open(encoder_dir))

    def fitting(query: str) -> set[str]:
        return {shop.rows[row]["title"] for row in words.holders(words.read(query, 10))}

    assert fitting("kettle red") == {"red kettle"}
    assert fitting("lamp") == {f"{colour} desk lamp" for colour in ("red", "blue", "green", "black", "white")}
    assert fitting("zzz") == fitting("...") == set()
    by_words = words.judge(words.read("red kettle", 10), np.arange(len(shop.rows)))
    assert [shop.rows[row]["title"] for row in np.flatnonzero(by_words.whole)] == ["red kettle"]


@pytest.mark.parametrize("by_final_score", [False, True])
def test_rescored_lists_are_those_of_a_release(
    shop: UnjudgedShop, indexed: ReleaseStore, encoder_dir: Path, ranker_dir: Path, tmp_path: Path, by_final_score: bool
) -> None:
    ranker, final = Teacher(ranker_dir), None
    ranker.ranker.spec = ranker.ranker.spec.model_copy(update={"mix": 0.6, "similarity": 1.0})
    if by_final_score:
        weights = {"fused_score": 5.0, "cosine_similarity": 1.0, "title_bm25": 0.1}
        spec = FinalSpec(
            features=PORTABLE_FEATURES, first_weights=weights, weights=weights | {"rerank_probability": 9.0},
            dense_weight=1.0, lexical_weight=0.5, rerank_depth=7, encoder="", ranker="",
        )  # fmt: skip
        write_final(tmp_path, spec)
        final = FinalScore.open(tmp_path)
    words = ServedWords(shop, BiEncoder.open(encoder_dir))
    served = Served(words, Towers(encoder_dir, shop.texts), shop.texts, ranker, final)
    read = [words.read(query, Plan().lexical_candidates) for query in QUERIES]
    release = open_place(find_release(indexed, "default", CURRENT))
    assert release.ranker is not None and served.depth == (7 if final else 32)
    release.ranker.spec, release.final = ranker.ranker.spec, final
    try:
        for query, rows in zip(QUERIES, served.orders(read), strict=True):
            with Admission(1).enter() as permit:
                answer = asyncio.run(search(Query(query, top_k=30), Plan(), release, permit, None))
            assert int((~np.isnan(answer.relevance)).sum()) == min(served.depth, len(rows))
            ours = [shop.rows[row]["id"] for row in rows[:5]]
            assert ours == [release.columns.id(hit.row) for hit in answer.hits[:5]]
    finally:
        release.retire()
    alone = Served(words, served.towers, shop.texts, None, final).orders(read)
    assert any(a[:5].tolist() != b[:5].tolist() for a, b in zip(alone, served.orders(read), strict=True))
    assert served.orders([]) == []


def test_a_final_score_goes_on_only_beside_models_that_it_suits(tmp_path: Path, ranker_dir: Path) -> None:
    ranker = Ranker.open(ranker_dir)
    cases = {"any": ("", "", 0), "rescoring": ("", ranker.digest, 8), "own": ("towers", ranker.digest, 8)}
    for name, (encoder, made_with, depth) in cases.items():
        weights = {"fused_score": 1.0}
        spec = FinalSpec(
            features=PORTABLE_FEATURES, first_weights=weights, weights=weights, dense_weight=1.0, lexical_weight=1.0,
            rerank_depth=depth, encoder=encoder, ranker=made_with,
        )  # fmt: skip
        write_final(tmp_path / name, spec)

    def goes(name: str, *models: Any, rescoring: bool = False) -> bool:
        return final_beside(tmp_path / name, *models, rescoring=rescoring) is not None

    assert goes("any", "x", None) and goes("any", "x", ranker) and not goes("any", "x", ranker, rescoring=True)
    assert goes("rescoring", "x", ranker, rescoring=True) and not goes("rescoring", "x", None)
    assert goes("own", "towers", ranker) and not goes("own", "x", ranker) and not goes("own", "towers", None)
    assert not goes("absent", "x", ranker)


class _Planted(Towers):
    """Towers whose vectors of a query are those of the product that it was made of, and noise."""

    def __init__(self, shop: UnjudgedShop, queries: dict[str, int], noise: float) -> None:
        random = np.random.default_rng(0)
        self.items = random.normal(size=(len(shop.rows), 16)).astype(np.float32)
        self.items /= np.linalg.norm(self.items, axis=1, keepdims=True)
        self._vectors = {
            text: self.items[row] + noise * random.normal(size=16).astype(np.float32) for text, row in queries.items()
        }

    def queries(self, texts, report=None):  # type: ignore[no-untyped-def, override]
        return np.stack([self._vectors[text] for text in texts])


def test_the_check_accepts_better_towers_and_refuses_worse_ones(shop: UnjudgedShop, encoder_dir: Path) -> None:
    words = ServedWords(shop, BiEncoder.open(encoder_dir))
    # Words that no product holds: the towers alone can find them.
    made = {f"zz{chr(97 + row)}qx": row for row in range(26)}
    queries = [ShopQuery(text, "words", row) for text, row in made.items()]
    good, poor = _Planted(shop, made, 0.05), _Planted(shop, made, 3.0)
    read = read_queries(words, queries, 100, Silent())
    pools = ask_voters(words, {"good": good, "poor": poor}, queries, read).pools
    held_out = HeldOut(queries, read, words, pools, vote(pools, {"words": 0.0, "good": 1.0, "poor": 0.0}))
    better, worse = check_adapted(held_out, poor, good), check_adapted(held_out, good, poor)
    assert better.accepted and better.known[ALL].after > 0.9 and set(better.known) == {ALL, "words"}
    assert worse.known[ALL].gain == pytest.approx(-better.known[ALL].gain)
    assert len(worse.reasons) == 3  # no gain, a way that loses, and less agreement


class _Opinionated:
    """A cross-encoder whose logit is by the product's text; each call takes a second of a clock of its own."""

    def __init__(self, ranker_dir: Path, logits: dict[str, float]) -> None:
        self.ranker, self._logits, self.now = Ranker.open(ranker_dir), logits, 0.0

    def logits(self, queries: list[str], texts: list[str]) -> np.ndarray:
        self.now += 1.0
        return np.array([self._logits.get(text, 0.0) for text in texts], np.float32)

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize("right", [True, False])
def test_the_cross_encoder_votes_on_the_first_products_while_there_is_time_and_where_it_is_right(
    shop: UnjudgedShop, encoder_dir: Path, ranker_dir: Path, right: bool
) -> None:
    words, towers = ServedWords(shop, BiEncoder.open(encoder_dir)), {"towers": Towers(encoder_dir, shop.texts)}
    queries = [ShopQuery(f"lamp {place}", "words") for place in range(80)]
    read = read_queries(words, queries, 100, Silent())
    ballot = ask_voters(words, towers, queries, read)
    # Made of what is served at the sixth place.
    known = [ShopQuery(q.text, q.way, int(ballot.pools.rows[place, 5])) for place, q in enumerate(queries)]
    ballot = replace(ballot, queries=known)
    texts = {shop.texts[query.row]: 5.0 if right else -5.0 for query in known if query.row is not None}
    opinionated = _Opinionated(ranker_dir, texts)
    quality = voter_quality(known, ballot.pools)
    asked = ask_ranker(ballot, ballot, quality, opinionated, shop.texts, 4.0, opinionated.clock)  # type: ignore[arg-type]
    assert asked.counts is right and asked.queries == 64  # two calls, of 32 queries each, in half of four seconds
    assert asked.pace == pytest.approx(64 * SCORED / 2)
    if not right:
        assert asked.train is ballot and asked.held_out is ballot and opinionated.now == 2.0
        return
    votes = asked.train.pools.votes[RANKER]
    assert np.isfinite(votes[:64, :SCORED]).all() and np.isneginf(votes[:64, SCORED:]).all()
    assert np.isneginf(votes[64:]).all()  # for these it was not asked: its order is the one served
    assert ranks_in_pools(votes, asked.train.pools.rows)[70, :3].tolist() == [1, 2, 3]
    assert np.isfinite(asked.held_out.pools.votes[RANKER][:64, :SCORED]).all() and opinionated.now == 4.0
