"""Serving gathers the candidates that a learned order was trained on, and computes their features as training does."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from recommendations import BEHAVIOUR, COUNT, POPULAR, Tower, angle, make_shop

from core.plan import Plan
from engine.protocol import Vectors
from ranker.recommendation import Limits
from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.pipeline.person import read_person
from retrieval.pipeline.recommend import recommend
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.recommend_sources import recommend_sources
from retrieval.recommend.behaviour import DAY
from retrieval.recommend.candidates import Alignment, GroupMembers, gather
from retrieval.recommend.features import HistoryFacts, ProductFacts, Shopper, compute_features
from retrieval.recommend.user import Action, Subject, User, UserEvent
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query


class Recorder:
    """A learned order that keeps what it is given."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(limits=Limits(), prices="catalog")
        self.tables: list[Vectors] = []

    def scores(self, table: Vectors) -> Vectors:
        self.tables.append(table)
        return np.zeros(len(table), np.float32)


@pytest.fixture
def shop(tmp_path: Path) -> LoadedRelease:
    release = make_shop(tmp_path, BEHAVIOUR, POPULAR, Tower(turn=5.3))
    release.recommender.final = Recorder()  # type: ignore[assignment]
    return release


HISTORIES = [("p41", "p31", "p40"), ("p41", "p40", "p41"), ("p7",), ("p20", "p22"), ()]


def bought(*products: str) -> Subject:
    """A shopper who bought these, an hour apart, the first of them last."""
    events = tuple(UserEvent(name, time.time() - 3600 * place, Action.purchase) for place, name in enumerate(products))
    return Subject(user=User(events=events))


def as_trained(
    release: LoadedRelease, context: RecommendContext, now: float
) -> tuple[Shopper, Alignment, GroupMembers]:
    """The shopper as training has it: arrays by row of the whole catalog."""
    behaviour = release.recommender.behaviour
    assert behaviour is not None
    rows = np.arange(COUNT)
    alignment = Alignment.make(behaviour, release.view.ids())
    popularity = release.recommender.popularity.scores(release.view)
    groups = GroupMembers((rows // 3).astype(np.int32), popularity)
    own = context.history.rows
    history = HistoryFacts(facts(release, own, alignment), context.history.age_days, context.history.actions)
    vector = angle(float(own[0]) + 5.3) if len(own) else None
    return Shopper(history, now, vector), alignment, groups


def facts(release: LoadedRelease, rows: np.ndarray, alignment: Alignment) -> ProductFacts:
    vectors = np.stack([angle(row) for row in rows.tolist()]) if len(rows) else np.zeros((0, 2), np.float32)
    prices = release.view.prices(rows).astype(np.float32)
    types = np.full(len(rows), -1, np.int32)
    return ProductFacts(rows, alignment.places[rows], (rows // 3).astype(np.int32), types, prices, vectors)


@pytest.mark.parametrize("products", HISTORIES)
async def test_candidates_are_those_of_the_training(shop: LoadedRelease, products: tuple[str, ...]) -> None:
    subject = bought(*products)
    context = RecommendContext.start(Query(""), Plan(), shop, None)
    context.subject = subject
    await read_person(context, None)
    served: dict[str, Any] = {source.name: (await source.retrieve()).rows for source in recommend_sources(context)}
    shopper, alignment, groups = as_trained(shop, context, context.now)
    behaviour = shop.recommender.behaviour
    assert behaviour is not None
    similar = np.zeros(0, np.int64)
    if shopper.vector is not None:
        cosines = np.stack([angle(row) for row in range(COUNT)]) @ shopper.vector
        similar = np.lexsort((np.arange(COUNT), -cosines))
    trained = gather(behaviour, alignment, groups, shopper, Limits(), similar)
    for name in ("bought_together", "user_tower"):
        assert served.get(name, np.zeros(0)).tolist() == trained[name].tolist(), name
    assert set(served.get("repurchase", np.zeros(0)).tolist()) == set(trained["repurchase"].tolist())
    # Training lists the history's own among its groups, which are candidates already; popular ones fill the list.
    own = set(context.history.rows.tolist())
    assert set(served.get("same_group", np.zeros(0)).tolist()) == set(trained["same_group"].tolist()) - own
    count = len(trained["popular"])
    assert served["popular"][:count].tolist() == trained["popular"].tolist()


@pytest.mark.parametrize("products", [products for products in HISTORIES if products])  # others are not ranked by it
async def test_features_are_those_of_the_training(shop: LoadedRelease, products: tuple[str, ...]) -> None:
    subject = bought(*products)
    result = await recommend(Query("", top_k=60), subject, Plan(), shop, Permit(), None)
    [table] = shop.recommender.final.tables  # type: ignore[union-attr]
    context = RecommendContext.start(Query(""), Plan(), shop, None)
    context.subject = subject
    await read_person(context, None)
    behaviour = shop.recommender.behaviour
    assert behaviour is not None
    shopper, alignment, _ = as_trained(shop, context, behaviour.spec.time + 7 * DAY)
    rows = np.sort(np.array([hit.row for hit in result.hits]))  # of equal scores, in the order of their rows
    assert [hit.row for hit in result.hits] == rows.tolist()
    expected = compute_features(behaviour, shopper, facts(shop, rows, alignment))
    order = np.argsort(rows_of(table, result, shop))
    served = table[order]
    assert len(served) == len(expected) == len(rows)
    for column, name in enumerate(RECOMMENDATION_NAMES):
        if not name.endswith("days"):  # which go on between the two
            assert served[:, column] == pytest.approx(expected[:, column], rel=1e-4, abs=1e-5, nan_ok=True), name


def rows_of(table: Vectors, result: Any, release: LoadedRelease) -> np.ndarray:
    """The rows of the table: candidates stand in it as they were fused, the best first."""
    fused = {hit.row: next(one.rank for one in hit.stage_scores if one.stage == "fuse") for hit in result.hits}
    ranked = sorted(fused, key=lambda row: (fused[row], row))
    assert len(ranked) == len(table)
    return np.array(ranked)
