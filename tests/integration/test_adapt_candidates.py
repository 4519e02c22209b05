"""What an adaptation measures is what a release serves, and the check sees better towers as better."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from shops import write_feed

from core.plan import Plan
from core.progress import Silent
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from lifecycle.adapt.candidates import ServedWords, Towers, fused_orders
from lifecycle.adapt.check import ALL, HeldOut, check_adapted
from lifecycle.adapt.labels import vote
from lifecycle.adapt.queries import ShopQuery
from lifecycle.adapt.shop import ShopFiles, UnjudgedShop, read_shop
from lifecycle.adapt.voters import ask_voters, read_queries
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
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
