"""What every stage of one request works with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from catalog.view import CatalogView
from core.plan import Plan
from retrieval.pipeline.result import Degradation, SearchResult
from retrieval.release.loaded import LoadedRelease
from retrieval.wire.request import Query


@dataclass(slots=True)
class RequestContext:
    """One request to one release. `query` is replaced by the query as it is understood; `result` is filled by stages.

    `deadline` is a time of the running loop's clock, or None.
    """

    query: Query
    plan: Plan
    release: LoadedRelease
    deadline: float | None
    result: SearchResult

    @classmethod
    def start(cls, query: Query, plan: Plan, release: LoadedRelease, deadline: float | None) -> "RequestContext":
        """Takes the release's view of the catalog as it is now, for the whole request."""
        return cls(query, plan, release, deadline, SearchResult(release.view))

    @property
    def view(self) -> CatalogView:
        """The revision of the catalog that the request sees."""
        return self.result.view

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
