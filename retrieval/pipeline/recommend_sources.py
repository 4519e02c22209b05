"""The sources of recommendations. Each returns at most as many products as the plan's candidates, and each may fail:
the others answer then.

To add one, write a class beside these, put its name and weights into `retrieval.recommend.weights`, and it into the
list of `recommend_sources`.
"""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Mask, Scores
from catalog.selection import Selection
from engine.expiry import on_thread
from engine.protocol import Candidates, Vectors
from retrieval.pipeline.candidates import Fusion
from retrieval.pipeline.quality import shed_sources
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.result import SOURCE_FAILED
from retrieval.pipeline.sources import Completion, FailurePolicy, Source, SourceResult
from retrieval.recommend.behaviour import RELATIONS, Popular
from retrieval.recommend.exploration import POOL
from retrieval.recommend.weights import SourceName, source_weights

_PURCHASE = 3
_EACH_GROUP = 10  # further products of one group
# Masks of more rows than this are scanned on a thread.
_AT_ONCE = 200_000


class RecommendSource:
    """What the sources share. `name`, `weight` and `policy` are as of `Source`."""

    def __init__(self, context: RecommendContext, name: SourceName, weight: float) -> None:
        """Retrieves nothing yet."""
        self.name = str(name)
        self.weight = weight
        self.policy = FailurePolicy(
            SOURCE_FAILED, required=False, failed=f"{name} failed", late=f"{name} took too long"
        )
        self._context = context
        self._count = _count(context, name)

    async def retrieve(self) -> Candidates:
        """See `Source`."""
        context = self._context
        with context.result.stage(self.name, len(context.view)) as stage:
            async with asyncio.timeout_at(context.sources_until()):
                found = await self.find()
            kept = context.allows(found.rows)
            found = Candidates(found.rows[kept][: self._count], found.scores[kept][: self._count])
            stage.candidates_out = len(found.rows)
        return found

    async def find(self) -> Candidates:
        """Products, best first, each once; those that the answer may not show are left out later."""
        raise NotImplementedError

    async def complete(self, fusion: Fusion) -> Completion:
        """See `Source`: what was not retrieved has no score, which is 0."""
        return Completion(fusion.sources[self.name].scores)


class VectorSource(RecommendSource):
    """The products nearest to a vector: the user tower's, the mean of a history's, or a product's own."""

    async def vector(self) -> Vectors | None:
        """The vector, shape (d,); None where there is none."""
        raise NotImplementedError

    async def find(self) -> Candidates:
        """See `RecommendSource`. Not through the caches: nothing of a shopper stays in them."""
        context, engine = self._context, self._context.release.engine
        self._vector = await self.vector()
        if self._vector is None:
            return Candidates(np.zeros(0, np.int64), np.zeros(0, np.float32))
        count = self._count + (context.row >= 0)
        [found] = await engine.retrieve(self._vector[None], count, context.deadline, context.view, context.selection)
        return found

    async def complete(self, fusion: Fusion) -> Completion:
        """See `Source`. A learned order compares all vectors itself."""
        context, missing = self._context, fusion.missing(self.name)
        scores = fusion.sources[self.name].scores.copy()
        if self._vector is not None and len(missing) and not context.learned:
            rows = fusion.rows[missing]
            scores[missing] = await context.release.engine.score_rows(
                self._vector, rows, context.deadline, context.view
            )
        return Completion(scores)


class UserTowerSource(VectorSource):
    """The products nearest to what the user tower makes of the history."""

    async def vector(self) -> Vectors | None:
        """See `VectorSource`."""
        return await self._context.user_vector()


class SimilarSource(VectorSource):
    """The products nearest to the product that the request is for, or to the mean of the history's."""

    async def vector(self) -> Vectors | None:
        """See `VectorSource`."""
        context = self._context
        if context.row < 0:
            return context.history.mean_vector(await context.history_vectors())
        row = np.array([context.row], np.int64)
        return (await context.release.engine.vectors(row, context.deadline, context.view))[0]


class TogetherSource(RecommendSource):
    """What is bought with the product that the request is for; of a history, by turns with its products and later."""

    async def find(self) -> Candidates:
        """See `RecommendSource`."""
        context = self._context
        behaviour = context.recommender.behaviour
        assert behaviour is not None
        if context.place >= 0:
            places, strengths = np.array([context.place], np.int64), np.ones(1, np.float32)
            return self._as_rows([behaviour.related("together", places, strengths)])
        places, strengths = context.history.places, context.history.strengths
        return self._as_rows([behaviour.related(name, places, strengths) for name in RELATIONS])

    def _as_rows(self, lists: list[Popular]) -> Candidates:
        """The lists by turns, as rows of the view."""
        context, reach = self._context, 2 * self._count
        cut = [Popular(one.places[:reach], one.weights[:reach]) for one in lists]
        turns = np.argsort(np.concatenate([np.arange(len(one.places)) for one in cut]), kind="stable")
        places = np.concatenate([one.places for one in cut])[turns]
        weights = np.concatenate([one.weights for one in cut])[turns]
        _, first = np.unique(places, return_index=True)
        first = np.sort(first)
        rows = context.recommender.rows.of_places(context.view, places[first])
        return Candidates(rows, weights[first].astype(np.float32))


class RepurchaseSource(RecommendSource):
    """What the shopper bought, by how probably it is bought again; a learned order judges what was looked at too."""

    async def find(self) -> Candidates:
        """See `RecommendSource`."""
        context, history = self._context, self._context.history
        assert context.recommender.behaviour is not None
        listed = (history.actions == _PURCHASE) | context.learned
        bought = np.flatnonzero(listed & (history.rows >= 0))
        _, first = np.unique(history.rows[bought], return_index=True)
        latest = bought[np.sort(first)]
        chances = context.recommender.behaviour.again(history.places[latest], history.age_days[latest])
        order = np.lexsort((history.rows[latest], history.age_days[latest], -chances))
        return Candidates(history.rows[latest][order], chances[order])


class SameGroupSource(RecommendSource):
    """Further products of the groups of what the shopper knows, such as other colours of it."""

    async def find(self) -> Candidates:
        """See `RecommendSource`: by the latest event with the group, the most popular of each."""
        context, view = self._context, self._context.view
        known = context.history.rows[context.history.known]
        rows, events = context.recommender.groups.members(view, known)
        allowed = context.allows(rows)
        rows, events = rows[allowed], events[allowed]
        popularity = context.recommender.popularity.of(view, rows)
        order = np.lexsort((rows, -popularity, events))
        order = order[_first_of_each(events[order], _EACH_GROUP)]
        order = order[~np.isin(rows[order], context.history.rows)]  # which another source brings
        strengths = context.history.strengths[context.history.known]
        return Candidates(rows[order], strengths[events[order]])


class PopularSource(RecommendSource):
    """What is popular in the shopper's segment and channel, where that is known; then what is popular with all."""

    async def find(self) -> Candidates:
        """See `RecommendSource`. Everything that passes the filter is popular in some degree: there is always some."""
        context = self._context
        if context.selection is not None and context.view.rows > _AT_ONCE:
            return await on_thread(self._find)
        return self._find()

    def _find(self) -> Candidates:
        context, popularity = self._context, self._context.recommender.popularity
        mask = context.selection.mask if context.selection is not None else context.view.mask(None)
        general = popularity.best(context.view, self._count + 1, mask)
        own = self._of_segment()
        if own is None:
            return general
        rows = own.rows[context.allows(own.rows)][: self._count]
        others = ~np.isin(general.rows, rows)
        # Above all others, so that scores fall.
        scores = np.concatenate([2 + _falling(len(rows)), general.scores[others]])
        return Candidates(np.concatenate([rows, general.rows[others]]), scores.astype(np.float32))

    def _of_segment(self) -> Candidates | None:
        """The list of the segment and channel; None where there is none of its own."""
        context, behaviour = self._context, self._context.recommender.behaviour
        if behaviour is None:
            return None
        popular = behaviour.popular(*behaviour.list_names(context.subject.all_segments))
        if popular is behaviour.popular():
            return None
        return Candidates(context.recommender.rows.of_places(context.view, popular.places), popular.weights)


class NewSource(SimilarSource):
    """Products that nobody has done anything with yet: those nearest to what the list is for, else the latest."""

    async def find(self) -> Candidates:
        """See `RecommendSource`."""
        context = self._context
        self._vector = None
        mask = await on_thread(self._new)
        rows = np.flatnonzero(mask)
        if (context.row >= 0 or len(context.history.known)) and len(rows):
            self._vector = await self.vector()
        if self._vector is None:
            latest = rows[::-1][:POOL]
            return Candidates(latest, np.zeros(len(latest), np.float32))
        selection = Selection(mask, len(rows), "new")
        [found] = await context.release.engine.retrieve(
            self._vector[None], POOL, context.deadline, context.view, selection
        )
        return found

    def _new(self) -> Mask:
        """Which rows are new and may be shown: of fresh segments and, where behaviour is known, of the base too, those
        without any; shape (rows,)."""
        context, view = self._context, self._context.view
        rows = context.recommender.rows
        parts = [rows.all_places(view, number) < 0 for number in range(len(view.segments))]
        if context.recommender.behaviour is None:
            parts[0] = np.zeros(len(view.base), np.bool_)
        mask = np.concatenate(parts)
        passing = context.selection.mask if context.selection is not None else view.mask(None)
        if passing is not None:
            mask &= passing
        if context.row >= 0:
            mask[context.row] = False
        return mask


def _count(context: RecommendContext, name: SourceName) -> int:
    """How many products a source returns at most: as many as the learned order was trained on, where that ranks. What
    is popular fills the list whatever the filter."""
    final, count = context.recommender.final, context.plan.candidates
    if context.learned and final is not None:
        limits = final.spec.limits.model_dump()
        count = limits.get(str(name), count) * (2 if name is SourceName.bought_together else 1)
        count = count if name is not SourceName.same_group else count * max(len(context.history.known), 1)
    return max(count, context.query.top_k) if name is SourceName.popular else count


def _first_of_each(numbers: NDArray[np.int64], most: int) -> NDArray[np.intp]:
    """The places of the first `most` of each of ascending numbers."""
    starts = np.searchsorted(numbers, numbers, side="left")
    return np.flatnonzero(np.arange(len(numbers)) - starts < most)


def _falling(count: int) -> Scores:
    return (1 - np.arange(count) / max(count, 1)).astype(np.float32)


def recommend_sources(context: RecommendContext) -> list[Source]:
    """The sources of a request, by what it is for; what only the first can do is never left out."""
    history, behaviour = context.history, context.recommender.behaviour is not None
    known, tower = len(history.known) > 0, context.recommender.tower is not None
    possible = {
        SourceName.user_tower: known and tower,
        SourceName.bought_together: behaviour and (context.place >= 0 or bool((history.places >= 0).any())),
        SourceName.repurchase: behaviour and (context.learned or bool((history.actions == _PURCHASE).any())),
        SourceName.same_group: known and context.view.base.columns is not None,
        SourceName.similar: context.row >= 0 or (known and not (context.learned and tower)),
        SourceName.popular: True,
        SourceName.new: context.plan.exploration > 0,
    }
    weights = source_weights(context.subject)
    names = [name for name in weights if possible[name]]
    optional = {SourceName.new, SourceName.same_group}
    if possible[SourceName.user_tower]:  # else it is what fills the list
        optional.add(SourceName.similar)
    return [_CLASSES[name](context, name, weights[name]) for name in shed_sources(context, names, optional)]


def report_sources(context: RecommendContext, lists: Sequence[SourceResult]) -> None:
    """Names in the result the sources that returned products."""
    assert context.result.person is not None
    context.result.person.sources = tuple(entry.source.name for entry in lists if len(entry.candidates.rows))


_CLASSES: dict[SourceName, type[RecommendSource]] = {
    SourceName.user_tower: UserTowerSource,
    SourceName.bought_together: TogetherSource,
    SourceName.repurchase: RepurchaseSource,
    SourceName.same_group: SameGroupSource,
    SourceName.similar: SimilarSource,
    SourceName.popular: PopularSource,
    SourceName.new: NewSource,
}
