"""A shop of doubles for lists: the fake engine's vectors, a real lexical index, and typed columns."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builders import product
from doubles import make_release
from wordings import lexical_index, titles

from catalog.columns import Kind, make_columns
from catalog.segment import make_segment
from catalog.view import CatalogView
from core.filters import Filter
from core.plan import Plan
from retrieval.listing.spec import PLAIN, ListingSpec
from retrieval.pipeline.lexical import LexicalRetriever
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

COUNT = 400
COLOURS, TYPES, BRANDS = ("red", "blue", "green"), ("drill", "saw", "lamp", "chair"), ("Acme", "Bolt", "Core", None)


@dataclass(frozen=True)
class Item:
    """A product of the shop, as the tests count them."""

    row: int
    title: str
    brand: str | None
    type_levels: tuple[str, ...]
    price: float | None
    stock: bool
    group: str | None

    @property
    def id(self) -> str:
        """Its id."""
        return f"p{self.row}"


def items(count: int = COUNT) -> list[Item]:
    """Products whose colour, type, brand, price and group repeat with different periods."""
    made = []
    for row in range(count):
        kind = TYPES[(row // 3) % 4]
        made.append(
            Item(
                row,
                f"{COLOURS[row % 3]} {kind} {'cordless' if row % 7 == 0 else 'plain'}",
                BRANDS[(row // 2) % 4],
                ("Home", f"Home > {kind.title()}"),
                None if row % 11 == 0 else float((row * 37) % 200) + 0.99,
                row % 5 != 0,
                f"g{row // 4}" if row % 4 else None,
            )
        )
    return made


def make_shop(folder: Path, count: int = COUNT) -> tuple[LoadedRelease, list[Item]]:
    """The shop as a release; a query that begins with a number t has products t, t + 1, ... as the most similar."""
    shop = items(count)
    rows = [product(item.id, item.title, brand=item.brand, item_group_id=item.group) for item in shop]
    release = make_release(folder, rows)
    folder.joinpath("words").mkdir()
    index = lexical_index(folder / "words", titles(*(item.title for item in shop)))
    release.words = LexicalRetriever(index, "en", {"title": 1.0})
    typed = make_columns(
        {
            "id": [item.id for item in shop],
            "title": [item.title for item in shop],
            "brand": [item.brand for item in shop],
            "product_type": [list(item.type_levels) for item in shop],
            "price": [item.price for item in shop],
            "in_stock": [item.stock for item in shop],
            "item_group_id": [item.group for item in shop],
        },
        {"price": Kind.money, "product_type": Kind.strings},
        {"price": "EUR"},
    )
    table, tokens = release.columns, release.view.base.tokens
    release.view = CatalogView(make_segment(table, tokens, columns=typed))
    return release, shop


async def answer(
    release: LoadedRelease,
    text: str,
    listing: ListingSpec = PLAIN,
    filter: Filter | None = None,
    top_k: int = 10,
    plan: Plan | None = None,
) -> SearchResult:
    """One answer of the whole pipeline."""
    query = Query(text, top_k=top_k, filter=filter, listing=replace(listing, digest=b"request "))
    return await search(query, plan or Plan(), release, Permit(), None)


async def pages(
    release: LoadedRelease, text: str, listing: ListingSpec, filter: Filter | None = None, sizes: Sequence[int] = (10,)
) -> list[SearchResult]:
    """Every page to the end; pages have these sizes in turn."""
    results: list[SearchResult] = []
    for size in itertools.cycle(sizes):
        token = results[-1].next_page_token if results else ""
        results.append(await answer(release, text, replace(listing, page_token=token), filter, size))
        if not results[-1].next_page_token:
            return results
    raise AssertionError("there is always an end")


def rows_of_hits(*results: SearchResult) -> list[int]:
    """The rows of the hits of all pages, in order."""
    return [hit.row for result in results for hit in result.hits]


def matching_rows(shop: Sequence[Item], query: str) -> set[int]:
    """What matches by the definition of the contract: all words of the query in the title, as rare words of it as the
    100th best product has, or among the 100 most similar. Titles have the same length, so rarity alone counts."""
    words = [word for word in query.split() if not word.isdecimal()]
    first = next((int(word) for word in query.split() if word.isdecimal()), 0)
    rows = {(first + place) % len(shop) for place in range(100)}
    holders = {word: {item.row for item in shop if word in item.title.split()} for word in words}
    rarity = {word: math.log(1 + (len(shop) - len(rows) + 0.5) / (len(rows) + 0.5)) for word, rows in holders.items()}
    scores = {
        item.row: round(sum(rarity[word] for word in words if item.row in holders[word]), 6)
        for item in shop
        if any(item.row in holders[word] for word in words)
    }
    border = sorted(scores.values(), reverse=True)[:100][-1:]
    rows |= {row for row, score in scores.items() if score >= border[0]}
    return rows | {item.row for item in shop if words and all(item.row in holders[word] for word in words)}
