"""What one release has for recommendations: behaviour, the user tower, the learned order, and lookups between them."""

import weakref
from pathlib import Path

from catalog.table import ProductTable
from catalog.view import CatalogView
from core.manifest import Manifest
from encoder.users.tower import UserTower
from ranker.recommendation import RecommendationScore
from retrieval.recommend.behaviour import FINAL, TOWER, USERS, Behaviour
from retrieval.recommend.encoding import HistoryEncoder
from retrieval.recommend.groups import Groups
from retrieval.recommend.history import HALF_LIFE_DAYS, MOST_EVENTS
from retrieval.recommend.popularity import Popularity
from retrieval.recommend.rows import ProductRows


class Recommender:
    """For any number of threads. Without behaviour it still has similar and popular products."""

    def __init__(
        self,
        table: ProductTable,
        behaviour: Behaviour | None = None,
        tower: UserTower | None = None,
        final: RecommendationScore | None = None,
    ) -> None:
        """`table` is the base segment's; `final`, the learned order of lists for shoppers, goes with behaviour."""
        self.behaviour = behaviour
        self.tower = tower
        self.encoder = None if tower is None else HistoryEncoder(tower)
        self.final = final if behaviour is not None else None
        self.rows = ProductRows(table, behaviour)
        self.popularity = Popularity(self.rows, behaviour)
        self.groups = Groups()
        self._ready: weakref.ref[CatalogView] | None = None

    def is_ready(self, view: CatalogView) -> bool:
        """Whether requests of this view compute nothing that takes long."""
        return self._ready is not None and self._ready() is view

    def prepare(self, view: CatalogView) -> None:
        """Computes what requests of a view share: for a thread, since it takes time that grows with the rows."""
        self.rows.prepare(view)
        self.popularity.prepare(view)
        self.groups.prepare(view)
        self._ready = weakref.ref(view)

    @property
    def most_history(self) -> int:
        """Latest events of a history that are read."""
        return MOST_EVENTS if self.behaviour is None else self.behaviour.spec.most_history

    @property
    def half_life_days(self) -> float:
        """Days after which an event of a history counts half."""
        return HALF_LIFE_DAYS if self.behaviour is None else self.behaviour.spec.history_days


def open_recommender(folder: Path, manifest: Manifest, table: ProductTable) -> Recommender:
    """Opens what a release holds of users' behaviour, if anything. Raises ModelError where it cannot be read."""
    users = folder / USERS
    if not any(name.startswith(f"{USERS}/") for name in manifest.files):
        return Recommender(table)
    tower = UserTower.open(users / TOWER) if (users / TOWER).is_dir() else None
    final = RecommendationScore.open(users / FINAL) if (users / FINAL).is_dir() else None
    return Recommender(table, Behaviour.open(users), tower, final)
