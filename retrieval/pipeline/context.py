"""What every stage of one request works with."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from catalog.segment import Mask
from catalog.selection import Selection
from catalog.view import CatalogView
from core.filters import Filter, join_filters
from core.plan import Plan
from encoder.users.tower import History as TowerHistory
from engine.protocol import Candidates, Vectors
from retrieval.listing.match_set import LexicalMatches
from retrieval.listing.page_token import PageToken
from retrieval.pipeline.result import Degradation, SearchResult
from retrieval.recommend.history import EMPTY, History
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.effects import NO_EFFECTS, RuleEffects
from retrieval.rules.ruleset import NO_RULES, RuleSet
from retrieval.wire.request import Query


@dataclass(slots=True)
class RequestContext:
    """One request to one release. `query` is replaced by the query as it is understood; `result` is filled by stages.

    `deadline` is a time of the running loop's clock, or None. `filter` is what products have to pass: the request's
    filter and those of rules; `selection` is what passes, None where everything does. `ruleset` are the merchandising
    rules that the request sees, others published meanwhile or not; `rules` are their effects at `now`, in seconds since
    1970.

    `similar` are the most similar products and `lexical_matches` what each product holds of the query, both before the
    filter: the sources leave them where the request is answered from its match set.

    `token` is that of the page asked for, None for the first. `steps` are the steps of reading the query that were
    done, and `left_out` marks, in shape (rows,), what the query negates, where that is a condition.

    `history` is what the shopper did, of recommendations and of searches that are personalised.

    `matches_depend_on_sources`: whether the match set is made of what the sources retrieved, as that of a search is.

    `pressure`, from 0 to 1, is how much of its quality the answer should give up; see `retrieval.pipeline.quality`.
    """

    query: Query
    plan: Plan
    release: LoadedRelease
    deadline: float | None
    result: SearchResult
    filter: Filter | None = None
    ruleset: RuleSet = NO_RULES
    rules: RuleEffects = NO_EFFECTS
    now: float = field(default_factory=lambda: float(int(time.time())))
    selection: Selection | None = None
    similar: Candidates | None = None
    lexical_matches: LexicalMatches | None = None
    token: PageToken | None = None
    steps: int = 0
    left_out: Mask | None = None
    matches_depend_on_sources: bool = True
    pressure: float = 0.0
    history: History = EMPTY
    _history_vectors: "asyncio.Future[Vectors] | None" = None
    _user_vector: "asyncio.Future[Vectors | None] | None" = None

    @classmethod
    def start(
        cls, query: Query, plan: Plan, release: LoadedRelease, deadline: float | None, pressure: float = 0.0
    ) -> Self:
        """Takes the release's view of the catalog and its rules as they are now, for the whole request."""
        result = SearchResult(release.view)
        return cls(query, plan, release, deadline, result, query.filter, release.rules, pressure=pressure)

    @property
    def view(self) -> CatalogView:
        """The revision of the catalog that the request sees."""
        return self.result.view

    @property
    def added_filter(self) -> Filter | None:
        """What products have to pass beside the request's own filter."""
        return join_filters(self.rules.filter, self.result.understanding.filter)

    async def history_vectors(self) -> Vectors:
        """The vectors, shape (k, d), of what the view has of the history, read once. Raises as `Engine.vectors`."""
        if self._history_vectors is None:
            work = self.release.engine.vectors(self.history.rows[self.history.known], self.deadline, self.view)
            self._history_vectors = asyncio.ensure_future(work)
        return await asyncio.shield(self._history_vectors)

    async def user_vector(self) -> Vectors | None:
        """What the user tower makes of the history, shape (d,), once; None without a tower, or where the view knows
        nothing of the history. Raises EngineError where the tower fails, and as `Engine.vectors`."""
        if self._user_vector is None:
            self._user_vector = asyncio.ensure_future(self._encode_history())
        return await asyncio.shield(self._user_vector)

    async def _encode_history(self) -> Vectors | None:
        encoder, history = self.release.recommender.encoder, self.history
        if encoder is None or not len(history.known):
            return None
        items = await self.history_vectors()
        return await encoder.encode(
            TowerHistory(items, history.age_days[history.known], history.actions[history.known])
        )

    def seconds_left(self) -> float | None:
        """Until the deadline; None without one."""
        return None if self.deadline is None else self.deadline - asyncio.get_running_loop().time()

    def time_after(self, share: Callable[[float], float]) -> float | None:
        """The loop's time when `share` of the seconds left until the deadline will have passed; None without one."""
        if self.deadline is None:
            return None
        now = asyncio.get_running_loop().time()
        return now + share(self.deadline - now)

    def optional_until(self) -> float | None:
        """The loop's time until which a stage that can be left out may run; None without a deadline."""
        return self.time_after(self.release.reserve.usable)

    def degrade(self, reason: str, detail: str, error: BaseException | None = None) -> None:
        """Records why the answer has less than the plan requires."""
        self.result.degraded.append(Degradation(reason, detail, "" if error is None else str(error)))
