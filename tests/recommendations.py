"""A shop of doubles for lists of recommendations: the fake engine's vectors, typed columns, and behaviour on request.

Its engine has product i at the angle of i degrees: the cosine of two is that of the difference of their numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from builders import product
from doubles import make_release
from recommending import SPEC, write

from catalog.columns import Kind, make_columns
from catalog.segment import Segment, make_segment
from catalog.selection import Selection
from catalog.table import ProductTable
from catalog.view import CatalogView
from core.plan import Plan
from engine.fake import FakeEngine
from engine.protocol import Candidates, Vectors
from retrieval.listing.spec import PLAIN, ListingSpec
from retrieval.pipeline.recommend import recommend
from retrieval.pipeline.result import SearchResult
from retrieval.profiles.profiles import Profiles
from retrieval.recommend.behaviour import Behaviour
from retrieval.recommend.recommender import Recommender
from retrieval.recommend.user import Action, Subject, User, UserEvent
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

COUNT = 60
NOW = 2_000_000.0


def sold(
    name: str, popularity: float, together: Sequence[int] = (), followed: Sequence[int] = (), again: float = 1.0
) -> tuple[Any, ...]:
    """A row of `PRODUCTS_SCHEMA`; weights of neighbours fall from .5 by halves."""
    weights = [[0.5**place for place in range(1, len(one) + 1)] for one in (together, followed)]
    numbers = (popularity, popularity, 1, 1, 10, 900, 2.0, again)
    return (name, *numbers, list(together), weights[0], list(followed), weights[1])


# Places: 0 p40, 1 p41, 2 p42, 3 p7.
BEHAVIOUR = [sold("p40", 5.0, [3, 1]), sold("p41", 4.0, [0], [2]), sold("p42", 1.0), sold("p7", 2.0, again=4.0)]
POPULAR = [("", "", [0, 1, 3, 2], [5.0, 4.0, 2.0, 1.0]), ("age=young", "", [2], [1.0]), ("", "web", [3], [1.0])]


def user(*products: str, action: Action = Action.purchase, **fields: Any) -> Subject:
    """A shopper who bought these, the first of them last, an hour apart."""
    events = tuple(UserEvent(name, NOW - 3600 * place, action) for place, name in enumerate(products))
    return Subject(user=User(events=events, **fields))


def angle(number: float) -> Vectors:
    """The vector of product `number`."""
    return np.array([np.cos(np.radians(number)), np.sin(np.radians(number))], np.float32)


class AngleEngine(FakeEngine):
    """Products at angles, those of fresh segments by the numbers in their ids."""

    def _all(self, view: CatalogView | None) -> Vectors:
        assert view is not None
        names = [name for segment in view.segments for name in segment.table.ids()]
        return np.stack([angle(int(name[1:])) for name in names])

    async def retrieve(
        self,
        vectors: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> list[Candidates]:
        assert view is not None
        await self._work("retrieve", len(vectors), deadline)
        mask = view.mask(None) if selection is None else selection.mask
        rows = np.arange(view.rows) if mask is None else np.flatnonzero(mask)
        results = []
        for vector in vectors:
            scores = (self._all(view)[rows] @ vector).astype(np.float32)
            order = np.lexsort((rows, -scores))[:k]
            results.append(Candidates(rows[order], scores[order]))
        return results

    async def encode(self, queries: Sequence[Any], deadline: float | None) -> Vectors:
        """A query's first word is an angle."""
        await self._work("encode", len(queries), deadline)
        return np.stack([angle(float(query[0])) for query in queries])

    async def score_rows(
        self, vector: Vectors, rows: np.ndarray, deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        await self._work("score_rows", len(rows), deadline)
        return (self._all(view)[rows] @ vector).astype(np.float32)

    async def vectors(self, rows: np.ndarray, deadline: float | None, view: CatalogView | None = None) -> Vectors:
        await self._work("vectors", len(rows), deadline)
        return self._all(view)[rows]


class Tower:
    """A shopper's vector is that of the latest product known of the history, turned by so many degrees."""

    def __init__(self, turn: float = 0.0, broken: bool = False) -> None:
        self.turn, self.broken = turn, broken
        self.histories: list[Any] = []

    def vectors(self, histories: Sequence[Any]) -> Vectors:
        if self.broken:
            raise RuntimeError("onnx")
        self.histories += histories
        first = histories[0].items[0]
        return angle(float(np.degrees(np.arctan2(first[1], first[0]))) + self.turn)[None]


def make_rows(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Products whose popularity falls with their numbers, in groups of three, of two colours."""
    return [
        product(
            f"p{i}",
            f"title {i}",
            color=("red", "blue")[i % 2],
            popularity=float(1000 - i),
            item_group_id=f"g{i // 3}",
            price_micros=(i + 1) * 1_000_000,
        )
        for i in numbers
    ]


def segment_of(folder: Path, rows: Sequence[dict[str, Any]], name: str, scale: Any = None) -> Segment:
    """The products as a segment with typed columns."""
    from builders import write_columns

    table = ProductTable(write_columns(folder / f"{name}.arrow", list(rows)))
    typed = make_columns(
        {
            "id": [row["id"] for row in rows],
            "color": [row["color"] for row in rows],
            "item_group_id": [row["item_group_id"] for row in rows],
            "price": [row["price_micros"] / 1e6 for row in rows],
        },
        {"price": Kind.money},
        {"price": "EUR"},
    )
    return make_segment(table, scale=scale, columns=typed)


def make_shop(
    folder: Path,
    behaviour: Sequence[Any] | None = None,
    popular: Sequence[Any] = (),
    tower: Any = None,
    **engine: Any,
) -> LoadedRelease:
    """The shop as a release; `behaviour` has rows of `PRODUCTS_SCHEMA`, `popular` of `POPULAR_SCHEMA`."""
    folder.mkdir(exist_ok=True)
    rows = make_rows(range(COUNT))
    release = make_release(folder, rows, ranker=False, engine=AngleEngine(COUNT, **engine))
    base = segment_of(folder, rows, "base")
    release.view = CatalogView(base)
    known = None
    if behaviour is not None:
        known = Behaviour.open(write(folder / "users", list(behaviour), list(popular), SPEC))
    release.recommender = Recommender(base.table, known, tower)
    return release


async def ask(
    release: LoadedRelease,
    subject: Subject | None = None,
    listing: ListingSpec = PLAIN,
    top_k: int = 10,
    plan: Plan | None = None,
    profiles: Profiles | None = None,
    request_id: str = "r",
    deadline: float | None = None,
    pressure: float = 0.0,
    **query: Any,
) -> SearchResult:
    """One answer of the whole pipeline."""
    asked = Query("", top_k=top_k, listing=listing, **query)
    return await recommend(
        asked, subject or Subject(), plan or Plan(), release, Permit(pressure=pressure), deadline, profiles, request_id
    )


def ids(result: SearchResult) -> list[str]:
    """The ids of the hits, in order."""
    return [result.view.id(hit.row) for hit in result.hits]
