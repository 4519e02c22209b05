"""A catalog that changes, against a plain dictionary: after each batch of changes, what Search shows is the same.

Two changes an entry in the mean: 100,000 in `make torture`.
"""

import asyncio
import random
import zlib
from typing import Any

import numpy as np
import pytest
from live_states import entry, product
from torture import SEED, amount

from catalog.changes import Change, ChangeKind, Entry, merge_fields
from core.plan import Plan
from core.releases import ReleaseStore
from retrieval.live.catalogs import state_maker
from retrieval.live.state import LiveState
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease, open_release
from retrieval.server.admission import Permit
from retrieval.wire import response as wire
from retrieval.wire.request import read_query
from tandem.v1 import search_pb2

ENTRIES = amount(250, 50_000)
MOST_TOGETHER = 6 if ENTRIES < 1000 else 20  # entries between two comparisons
WORDS = (
    "anvil",
    "bucket",
    "candle",
    "drum",
    "easel",
    "flute",
    "quoxel",
    "zimbrat",
)  # the last two are new to the release
BRANDS = (None, "Acme", "Borealis", "Zyx")
IDS = [f"a-{number}" for number in range(30)] + [f"n-{number}" for number in range(30)]
STOCK = (None, "in_stock", "out_of_stock", "preorder")


class RandomModels:
    """A direction for each text, without a model."""

    digest = "random"

    def embed(self, texts: Any) -> np.ndarray:
        vectors = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=384) for text in texts]
        return np.array([vector / np.linalg.norm(vector) for vector in vectors], np.float32).reshape(len(texts), 384)

    def tokens(self, texts: Any) -> list[np.ndarray]:
        return [np.array([2000 + len(text)], np.int32) for text in texts]


class PlainCatalog:
    """The products and versions by id: what the rules say, and nothing else."""

    def __init__(self, products: dict[str, dict[str, Any]]) -> None:
        self.products = products
        self.versions: dict[str, int] = {}
        self.past: dict[str, list[dict[str, Any]]] = {}

    def apply(self, change: Change) -> None:
        name, version = change.product_id, change.version
        if version and version <= self.versions.get(name, 0):
            return
        there = self.products.get(name)
        if change.kind is ChangeKind.update_fields and there is None:
            return
        if version:
            self.versions[name] = version
        if there is not None:
            self.past.setdefault(name, []).append(there)
        if change.kind is ChangeKind.delete:
            self.products.pop(name, None)
        elif change.kind is ChangeKind.upsert:
            self.products[name] = {**product(name), **(change.product or {})}
        else:
            assert there is not None
            self.products[name] = merge_fields(there, change.product or {})


class Shopper:
    """Asks a release, and compares what it shows with the dictionary."""

    def __init__(self, release: LoadedRelease, plain: PlainCatalog) -> None:
        self.release, self.plain = release, plain
        self.loop = asyncio.new_event_loop()

    def ask(self, **fields: Any) -> search_pb2.SearchResponse:
        request = search_pb2.SearchRequest(top_k=100, total=search_pb2.TOTAL_MODE_EXACT, **fields)

        async def run() -> search_pb2.SearchResponse:
            query = read_query(request)
            result = await search(query, Plan(rerank_depth=0), self.release, Permit(), None)
            return await wire.response(request, query, result, self.release, "id")

        return self.loop.run_until_complete(run())

    def compare(self, draw: random.Random) -> None:
        """All products, by price; those of a filter; those of a word."""
        products = self.plain.products
        everything = self.ask(
            query="thing",
            match=search_pb2.MATCH_MODE_ALL,
            sort=[search_pb2.SortKey(field="price", descending=True)],
            facets=[search_pb2.FacetRequest(field="brand", limit=10)],
        )
        shown = {hit.product_id: hit.product for hit in everything.hits}
        assert set(shown) == set(products) and len(everything.hits) == len(products) == everything.total.value
        for name, one in shown.items():
            assert (one.title, one.brand) == (products[name]["title"], products[name]["brand"] or "")
            price = one.price.units * 1_000_000 + one.price.nanos // 1000 if one.HasField("price") else None
            assert price == products[name]["price_micros"], name
        prices = [products[hit.product_id]["price_micros"] for hit in everything.hits]
        assert prices == sorted(prices, key=lambda price: (price is None, -(price or 0)))
        [facet] = everything.facets
        brands = [row["brand"] for row in products.values() if row["brand"]]
        assert {value.value: value.count for value in facet.values} == {
            name: brands.count(name) for name in set(brands)
        }

        stock, word = draw.choice(STOCK[1:]), draw.choice(WORDS)
        value = search_pb2.FilterValue(text=stock)
        condition = search_pb2.Filter(equal=search_pb2.EqualCondition(field="availability", value=value))
        inside = {name for name, row in products.items() if row["availability"] == stock}
        filtered = self.ask(query="thing", match=search_pb2.MATCH_MODE_ALL, filter=condition)
        assert {hit.product_id for hit in filtered.hits} == inside and filtered.filter.passing == len(inside)

        holders = {name for name, row in products.items() if word in row["title"].split()}
        by_word = self.ask(query=word, verbatim=True)
        lexical = {
            hit.product_id
            for hit in by_word.hits
            if any(s.stage == "lexical" and s.score > 0 for s in hit.stage_scores)
        }
        assert holders <= {hit.product_id for hit in by_word.hits} and holders <= lexical | holders


def draw_change(draw: random.Random, plain: PlainCatalog) -> Change:
    name = draw.choice(IDS)
    version = draw.choice((0, 0, 0, plain.versions.get(name, 0) + draw.choice((-1, 0, 1, 2))))
    version = max(version, 0)
    kind = draw.random()
    if kind < 0.15:
        return Change(ChangeKind.delete, name, version)
    if kind < 0.3 and plain.past.get(name):  # back to what it was
        return Change(ChangeKind.upsert, name, version, draw.choice(plain.past[name]))
    if kind < 0.55:
        fields: dict[str, Any] = draw.choice(
            (
                {"price_micros": draw.randrange(1, 50) * 500_000, "currency": "EUR"},
                {"availability": draw.choice(STOCK)},
                {"brand": draw.choice(BRANDS)},
                {"title": draw_title(draw), "popularity": 3.0},
                {"price_micros": None, "attributes.hue": draw.choice((None, "blue"))},
            )
        )
        return Change(ChangeKind.update_fields, name, version, fields)
    row = product(
        name,
        draw_title(draw),
        brand=draw.choice(BRANDS),
        availability=draw.choice(STOCK),
        price_micros=draw.choice((None, draw.randrange(1, 50) * 500_000)),
        currency="EUR",
    )
    return Change(ChangeKind.upsert, name, version, row)


def draw_title(draw: random.Random) -> str:
    return " ".join(draw.sample(WORDS, draw.randrange(1, 4)))


@pytest.mark.torture
def test_a_changing_catalog_is_a_dictionary(indexed: ReleaseStore) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    manifest = indexed.in_service("default")
    assert manifest is not None
    folder = indexed.path("default", manifest.release_id)
    release = open_release(folder, manifest)
    base = {release.view.id(row): release.view.row(row) for row in range(release.view.rows)}
    plain = PlainCatalog(base)
    shopper = Shopper(release, plain)
    make = state_maker(release, folder, RandomModels(), 0)
    state: LiveState = make()
    log: list[Entry] = []
    merge = None
    while len(log) < ENTRIES:
        batch = []
        for _ in range(draw.randrange(1, MOST_TOGETHER)):
            changes = []
            for _ in range(draw.randrange(1, 4)):
                changes.append(draw_change(draw, plain))
                plain.apply(changes[-1])
            batch.append(entry(len(log) + len(batch) + 1, *changes))
        log += batch
        state.apply(batch)
        if merge is None:
            merge = state.stack.start_merge()
        elif draw.random() < 0.5:
            state.stack.finish_merge(merge, state.stack.run_merge(merge))
            merge = None
        if draw.random() < 0.02:  # a process starts: all at once from the log
            state, merge = make(), None
            for start in range(0, len(log), 1000):
                state.apply(log[start : start + 1000])
        release.view = state.view()
        shopper.compare(draw)
    release.retire()
    shopper.loop.close()
