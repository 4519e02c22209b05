"""One page of a list: which products it shows, with totals, groups, facets and the next page's token.

All of it is computed over one match set, on a thread: it takes time that grows with what matches.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Mask, Rows, Scores
from catalog.view import CatalogView
from core.filters import Filter, join_filters, without_field
from retrieval.listing.columns import (
    cap_values,
    group_numbers,
    group_value,
    products_by_id,
    products_of,
    sort_key,
)
from retrieval.listing.facets import FacetCounts, count_facet
from retrieval.listing.match_set import MatchSet
from retrieval.listing.order import Matches, Places, ResultOrder, group_members, order_matches
from retrieval.listing.spec import MAX_DEPTH, FacetSpec, ListingSpec
from retrieval.rules.effects import NO_EFFECTS, RuleEffects

# By how much a boost by two raises a product that no model ranked, where words and similarity count up to 1 each.
_BOOST = 0.25


@dataclass(frozen=True, slots=True)
class Filters:
    """The request's own filter, which facets can leave out in part, and what rules and the query add to it; `left_out`,
    of shape (rows,), marks products that fail whatever else they pass."""

    own: Filter | None = None
    added: Filter | None = None
    left_out: Mask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The first results by relevance, best first: `rows` and `scores`, both of shape (h,). `spread` has the rows that
    their difference from others moved, as far as that is known."""

    rows: Rows
    scores: Scores
    spread: frozenset[int] = frozenset()

    @classmethod
    def empty(cls) -> "Head":
        """The head of a list that is not ordered by relevance."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """The group of a listed product: the value that it shares, its size, and rows of further members."""

    value: str
    size: int
    variants: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A product of the page by its row. `moves` is what moved it beside its score."""

    row: int
    score: float
    moves: tuple[str, ...] = ()
    group: ListedGroup | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page: `total` counts the products that match, `groups` their groups where the request groups. `more` is whether
    there is a next page."""

    products: list[PageEntry]
    total: int
    groups: int | None
    more: bool
    facets: list[FacetCounts] = field(default_factory=list)


class Listing:
    """A match set with everything that decides its order, for one request."""

    def __init__(
        self,
        view: CatalogView,
        spec: ListingSpec,
        matches: MatchSet,
        selected: Mask | None,
        rules: RuleEffects = NO_EFFECTS,
        inside: Mask | None = None,
        filters: Filters = Filters(),
    ) -> None:
        """`selected`, of shape (rows,), marks what passes the filters and is not deleted, None for all; `inside` what
        the query's price bounds include."""
        self._view = view
        self._spec = spec
        self._matches = matches
        self._selected = selected
        self._rules = rules
        self._inside = inside
        self._filters = filters

    @cached_property
    def pins(self) -> list[tuple[int, int, str]]:
        """The place, the row and the rule of each product that rules pin and that passes the filter."""
        return [pin for pin in self._pinned if self._selected is None or self._selected[pin[1]]]

    @cached_property
    def _pinned(self) -> list[tuple[int, int, str]]:
        if self._spec.sort or not self._rules.pins:
            return []
        rows = products_by_id(self._view, {pin.product_id for pin in self._rules.pins})
        return [(pin.place, rows[pin.product_id], pin.rule_id) for pin in self._rules.pins if pin.product_id in rows]

    @cached_property
    def matching(self) -> Mask:
        """What matches, pinned products among it, before the filter: a facet may leave out what a pin fails."""
        if not self._pinned:
            return self._matches.matching
        mask = self._matches.matching.copy()
        mask[[row for _, row, _ in self._pinned]] = True
        return mask

    @cached_property
    def rows(self) -> Rows:
        """What matches and passes the filter, ascending."""
        return np.flatnonzero(self.matching if self._selected is None else self.matching & self._selected)

    @cached_property
    def groups(self) -> NDArray[np.int64] | None:
        """The group of each row of the view, where the request groups."""
        return None if self._spec.group is None else group_numbers(self._view, self._spec.group.field)

    @cached_property
    def boosts(self) -> list[tuple[str, Mask, float]]:
        """The rule, the products and the factor of each boost."""
        return [
            (boost.rule_id, products_of(self._view, boost.product_ids, boost.filter), boost.factor)
            for boost in self._rules.boosts
        ]

    @cached_property
    def burials(self) -> list[tuple[str, Mask]]:
        """The rule and the products of each burial; what is pinned is not buried."""
        masks = [(bury.rule_id, products_of(self._view, bury.product_ids, bury.filter)) for bury in self._rules.buried]
        for _, mask in masks:
            mask[[row for _, row, _ in self.pins]] = False
        return masks

    def head(self, rows: Rows, scores: Scores) -> Head:
        """The ranked candidates, best first, as the first results: without what does not match, is buried or costs what
        the query excludes, in the order that boosts make, and of each group its best."""
        kept = self._allowed(rows)
        if self._inside is not None:
            kept &= self._inside[rows]
        for _, mask in self.burials:
            kept &= ~mask[rows]
        rows, scores = rows[kept], scores[kept]
        if self.boosts:
            standing = np.arange(1, len(rows) + 1, dtype=np.float64)
            for _, mask, factor in self.boosts:
                standing = np.where(mask[rows], standing / factor, standing)
            order = np.argsort(standing, kind="stable")
            rows, scores = rows[order], scores[order]
        if self.groups is not None:
            firsts = np.sort(np.unique(self.groups[rows], return_index=True)[1])
            rows, scores = rows[firsts], scores[firsts]
        return Head(rows, scores)

    def page(self, head: Head, offset: int, size: int) -> Page:
        """The results from `offset` on. What of the head does not match is left out, whoever says that it is in it."""
        kept = self._allowed(head.rows)
        head = Head(head.rows[kept], head.scores[kept], head.spread)
        stop = min(offset + size, MAX_DEPTH)
        matches = self._order(head)
        ordered = order_matches(matches, stop)
        chosen = ordered.places[offset:]
        more = stop < min(ordered.total, MAX_DEPTH)
        listed = self._listed(matches, ordered, head, chosen)
        facets = [self._count(facet) for facet in self._spec.facets]
        return Page(listed, len(self.rows), None if self.groups is None else ordered.total, more, facets)

    def _allowed(self, rows: Rows) -> Mask:
        return self.matching[rows] if self._selected is None else self.matching[rows] & self._selected[rows]

    def _order(self, head: Head) -> Matches:
        rows, spec = self.rows, self._spec
        buried = None
        if self.burials and not spec.sort:
            buried = np.logical_or.reduce([mask[rows] for _, mask in self.burials])
        return Matches(
            rows,
            self._relevance(rows),
            np.searchsorted(rows, head.rows),
            [sort_key(self._view, key, rows) for key in spec.sort],
            None if self.groups is None else self.groups[rows],
            [] if spec.sort else [cap_values(self._view, cap, rows) for cap in spec.diversity.caps],
            buried,
            [(place, int(np.searchsorted(rows, row))) for place, row, _ in self.pins],
        )

    def _relevance(self, rows: Rows) -> Scores:
        """The relevance of products that no model ranked; products outside the price bounds are below all others."""
        relevance = self._matches.relevance[rows]
        for _, mask, factor in self.boosts:
            relevance = relevance + np.where(mask[rows], np.float32(_BOOST * np.log2(factor)), np.float32(0))
        if self._inside is not None and len(rows):
            relevance = np.where(self._inside[rows], relevance, relevance - np.ptp(relevance) - 1)
        return relevance

    def _listed(self, matches: Matches, ordered: ResultOrder, head: Head, chosen: Places) -> list[PageEntry]:
        scores = dict(zip(head.rows.tolist(), head.scores.tolist(), strict=True))
        below = (min(scores.values()) - 1.0) if scores else 0.0
        pinned = {row: rule for _, row, rule in self.pins}
        result = []
        for place in chosen.tolist():
            row = int(matches.rows[place])
            score = scores.get(row, below + float(matches.relevance[place]) / 4 - 0.5)
            moves = [f"pin:{pinned[row]}"] if row in pinned else []
            moves += [f"boost:{rule}" for rule, mask, _ in self.boosts if mask[row]]
            moves += [f"bury:{rule}" for rule, mask in self.burials if mask[row] and not self._spec.sort]
            moves += ["cap"] if place in ordered.capped else []
            moves += ["diversity"] if row in head.spread else []
            result.append(PageEntry(row, score, tuple(moves), self._group(matches, place)))
        return result

    def _group(self, matches: Matches, place: int) -> ListedGroup | None:
        spec = self._spec.group
        if spec is None or matches.groups is None:
            return None
        size = int(self._sizes[matches.groups[place]])
        variants = group_members(matches, place, spec.variants) if spec.variants and size > 1 else np.zeros(0, np.intp)
        value = group_value(self._view, spec.field, int(matches.rows[place]))
        return ListedGroup(value, size, tuple(matches.rows[variants].tolist()))

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        assert self.groups is not None
        return np.bincount(self.groups[self.rows])

    def _count(self, facet: FacetSpec) -> FacetCounts:
        column = self._view.column(facet.field)
        rows = self.rows
        if facet.exclude_own_filter:
            rows = self._rows_without(facet.field)
        return count_facet(facet, column, None if len(rows) == self._view.rows else rows, self.groups)

    def _rows_without(self, field: str) -> Rows:
        """What matches and passes the filter without its own conditions on a field."""
        own = self._filters.own
        left = without_field(own, field) if own is not None else None
        if left == own:
            return self.rows
        mask = self._view.mask(join_filters(left, self._filters.added))
        matching = self.matching if mask is None else self.matching & mask
        return np.flatnonzero(matching if self._filters.left_out is None else matching & ~self._filters.left_out)
