"""Lists what a request matches: its filter, its match set, its page."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from catalog.columns import NUMERIC, Kind, UnknownField
from catalog.references import find_rows, make_references
from catalog.segment import Mask
from catalog.selection import Selection
from core.filters import InvalidFilter, filter_digest
from core.strings import quoted
from engine.expiry import on_thread
from engine.protocol import EngineError
from engine.vector.filtering import EXACT_KIND, plan_filter
from retrieval.listing.diversity import MMR_WINDOW, spread_by_vectors
from retrieval.listing.match_set import (
    MatchSet,
    make_match_set,
    only_candidates,
)
from retrieval.listing.page import Filters, Head, Listing, Page
from retrieval.listing.page_token import (
    MAX_HEAD,
    InvalidToken,
    PageToken,
    check_token,
    decode_token,
    digest8,
    encode_token,
)
from retrieval.listing.spec import MAX_DEPTH
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.result import DENSE_FAILED, FilterReport, Total
from retrieval.pipeline.sources import SourceResult
from retrieval.rules.ruleset import list_some
from retrieval.wire.violations import InvalidRequest, Violation
from text.price_bounds import PriceBounds

log = logging.getLogger("tandem.requests")

# Work on so many rows is done at once; on more, on a thread, so that the event loop serves others.
_AT_ONCE = 2000
_SOURCES = {DENSE: 1, LEXICAL: 2}
_ALL_SOURCES = sum(_SOURCES.values())
_Result = TypeVar("_Result")


def open_page(context: RequestContext) -> None:
    """Sets the token of the page asked for, None for the first, and the time of the request to that of the first page.

    Raises InvalidRequest for a token that is not of this request and release.
    """
    spec = context.query.listing
    check_fields(context)
    if not spec.page_token:
        return
    try:
        token = decode_token(spec.page_token)
        check_token(token, _release_digest(context), spec.digest)
    except InvalidToken as error:
        raise InvalidRequest([Violation("page_token", str(error))]) from None
    context.token, context.now = token, float(token.now)


def check_fields(context: RequestContext) -> None:
    """Raises InvalidRequest for facets, keys, groups and caps of fields that the catalog does not have, or whose values
    have no order or are not kept."""
    spec, view = context.query.listing, context.view
    violations = []
    for path, name in spec.fields.items():
        try:
            kind = view.kind(name)
        except UnknownField as error:
            violations.append(Violation(path, str(error)))
            continue
        if kind is Kind.strings and path.startswith("sort"):
            violations.append(Violation(path, f"{quoted(name)} has several values a product, which have no order"))
        if kind is Kind.text and path.startswith(("group_by", "diversity")):
            violations.append(Violation(path, f"{quoted(name)} holds long text, whose values are not kept"))
    for place, facet in enumerate(spec.facets):
        ranges = "borders" if facet.borders else "interval" if facet.interval else ""
        known = (view.field_kinds or {}).get(facet.field)
        if ranges and known is not None and known not in NUMERIC:
            violations.append(
                Violation(f"facets[{place}].{ranges}", f"{quoted(facet.field)} is no number; leave it out")
            )
    if violations:
        raise InvalidRequest(violations)


async def select(context: RequestContext) -> None:
    """Sets which products pass the context's filter."""
    filter, view = context.filter, context.view
    if filter is None:
        return
    try:
        mask = await _off_loop(view.rows, lambda: view.mask(filter))
    except InvalidFilter as error:  # rules' filters were checked when the rules were taken up
        raise InvalidRequest([Violation(error.path, error.description)]) from None
    if mask is None:
        return
    count = int(np.count_nonzero(mask))
    condition = filter_digest(filter)
    context.selection = Selection(mask, count, f"{condition}@{view.serial}", condition)
    context.result.filter = FilterReport(count, _execution(context, count))


def _execution(context: RequestContext, count: int) -> str:
    """How the index is searched among so many products."""
    listing = context.query.listing
    if context.matches_depend_on_sources and listing.needs_matches and not listing.match_all:
        return "none"  # the match set does not depend on the filter
    report = context.release.manifest.snapshot.index
    exact = report.get("kind", EXACT_KIND) == EXACT_KIND
    return plan_filter(exact, context.view.rows, count, report.get("filter_plans")).execution


def as_before(context: RequestContext, lists: Sequence[SourceResult]) -> Sequence[SourceResult]:
    """The lists that a page is made of: those of the sources that took part in the first page, all of them there.

    Raises EngineError where one is not available.
    """
    token = context.token
    if token is None:
        return lists
    for entry in lists:
        if not _SOURCES[entry.source.name] & token.sources:
            context.degrade(entry.source.policy.reason, "the first page was made without it, and so is this one")
    lists = [entry for entry in lists if _SOURCES[entry.source.name] & token.sources]
    if not lists or _sources(lists) != token.sources & _ALL_SOURCES:
        raise EngineError("a source that took part in the first page is not available")
    return lists


async def find_matches(context: RequestContext, lists: Sequence[SourceResult]) -> MatchSet | None:
    """The match set of what the sources retrieved; None where the request is not answered from it."""
    spec = context.query.listing
    if not spec.needs_matches:
        return None
    names = {entry.source.name for entry in lists}
    similar = context.similar if DENSE in names else None
    words = context.lexical_matches if LEXICAL in names else None
    view = context.view
    return await _off_loop(view.rows, lambda: make_match_set(view, similar, words, spec.match_all))


def keep_matching(context: RequestContext, candidates: CandidateSet, matches: MatchSet | None) -> CandidateSet:
    """The candidates that match and pass the filter. All of them pass, unless a source breaks the filter, which is
    logged and counted."""
    kept = np.ones(len(candidates.rows), bool)
    if context.selection is not None:
        kept = context.selection.mask[candidates.rows]
        if not kept.all():
            failing = int(np.count_nonzero(~kept))
            context.result.filter_violations += failing
            log.error("sources returned %d products that fail the filter; they were removed", failing)
    if matches is not None:
        kept = kept & matches.matching[candidates.rows]
    return candidates if kept.all() else candidates.ordered(np.flatnonzero(kept))


def needs_arranging(context: RequestContext) -> bool:
    """Whether more than relevance orders the hits."""
    rules = context.rules
    moves = bool(rules.pins or rules.boosts or rules.buried)
    return context.query.listing.needs_matches or bool(context.query.listing.diversity) or moves


async def first_page(
    context: RequestContext,
    lists: Sequence[SourceResult],
    matches: MatchSet | None,
    head: Head,
    bounds: PriceBounds | None,
) -> Page:
    """The first page of a list that begins with the ranked candidates, best first."""
    view, ranked = context.view, head
    made = matches
    if made is None:
        made = await _off_loop(view.rows, lambda: only_candidates(view, ranked.rows))
    listing = await make_listing(context, made, bounds)
    head = await _off_loop(view.rows, lambda: listing.head(ranked.rows, ranked.scores))
    head = await _spread(context, head)
    if matches is not None:  # later pages know no more of it
        head = Head(head.rows[:MAX_HEAD], head.scores[:MAX_HEAD], head.spread)
    page = await _page(context, listing, head, 0)
    _report_pins(context, listing)
    if matches is not None:
        _report(context, page, lists, head, 0)
    return page


async def next_page(
    context: RequestContext,
    lists: Sequence[SourceResult],
    matches: MatchSet | None,
    token: PageToken,
    bounds: PriceBounds | None,
) -> Page:
    """A further page of the list whose beginning the token holds.

    Raises EngineError where the query could not be read as for the first page, and InvalidRequest where other rules are
    in effect.
    """
    if token.rules != _rules_digest(context):
        raise InvalidRequest(
            [Violation("page_token", "is of merchandising rules that were replaced; begin again with the first page")]
        )
    if token.searched != _searched_digest(context):
        raise EngineError("the query could not be read as for the first page")
    assert matches is not None, "a token makes a request one of a match set"
    listing = await make_listing(context, matches, bounds)
    there = find_rows(context.view, token.products)
    rows, firsts = np.unique(there, return_index=True)
    known = np.sort(firsts[rows >= 0])  # whoever made the token: no product twice
    head = Head(there[known], token.scores[known])
    context.result.offset = token.offset
    page = await _page(context, listing, head, token.offset)
    _report_pins(context, listing)
    _report(context, page, lists, head, token.offset)
    return page


async def make_listing(context: RequestContext, matches: MatchSet, bounds: PriceBounds | None) -> Listing:
    """The list of what matches."""
    view = context.view
    selected = context.selection.mask if context.selection is not None else view.mask(None)
    inside: Mask | None = None
    if bounds is not None:
        inside = await _off_loop(view.rows, lambda: bounds.include(view.prices(np.arange(view.rows))))
    filters = Filters(context.query.filter, context.added_filter, context.left_out)
    return Listing(view, context.query.listing, matches, selected, context.rules, inside, filters)


async def _page(context: RequestContext, listing: Listing, head: Head, offset: int) -> Page:
    return await _off_loop(context.view.rows, lambda: listing.page(head, offset, context.query.top_k))


async def _spread(context: RequestContext, head: Head) -> Head:
    """The head in the order of maximal marginal relevance, where the request asks for it."""
    strength, release = context.query.listing.diversity.strength, context.release
    if not strength or context.query.listing.sort or not len(head.rows):
        return head
    first = head.rows[:MMR_WINDOW]
    try:
        vectors = await release.engine.vectors(first, context.deadline, context.view)
    except EngineError as error:
        context.degrade(DENSE_FAILED, "hits are not spread: their vectors could not be read", error)
        return head
    order = await on_thread(spread_by_vectors, vectors, strength)  # some milliseconds
    places = np.concatenate([order, np.arange(len(first), len(head.rows))])
    moved = frozenset(first[order][order != np.arange(len(first))].tolist())
    return Head(head.rows[places], head.scores[places], moved)


def _report(context: RequestContext, page: Page, lists: Sequence[SourceResult], head: Head, offset: int) -> None:
    """Puts what a page has beside its hits into the result."""
    result, spec = context.result, context.query.listing
    approximate = spec.approximate and context.release.manifest.snapshot.index.get("kind", EXACT_KIND) != EXACT_KIND
    exact = not context.matches_depend_on_sources or (_sources(lists) == _all_sources(context) and not approximate)
    result.total = Total(page.total, exact)
    result.groups = None if page.groups is None else Total(page.groups, exact)
    result.facets = page.facets
    if page.more:
        result.next_page_token = encode_token(
            PageToken(
                _release_digest(context),
                spec.digest,
                _rules_digest(context),
                _searched_digest(context),
                context.view.revision,
                int(context.now),
                _sources(lists) | context.steps,
                min(offset + context.query.top_k, MAX_DEPTH),
                make_references(context.view, head.rows),
                head.scores,
            )
        )


def _report_pins(context: RequestContext, listing: Listing) -> None:
    """Leaves out of the rules' reports what was not pinned after all: unknown products, and those that fail the
    filter."""
    if not context.rules.pins:
        return
    rules: dict[str, list[str]] = {}
    for place, row, rule in listing.pins:
        rules.setdefault(rule, []).append(f"{context.view.id(row)} at {place}")
    context.result.rules = tuple(
        report if report.action != "pin" else report._replace(detail=list_some(rules[report.rule_id]))
        for report in context.result.rules
        if report.action != "pin" or report.rule_id in rules
    )


def _sources(lists: Sequence[SourceResult]) -> int:
    return sum(_SOURCES.get(entry.source.name, 0) for entry in lists)


def _all_sources(context: RequestContext) -> int:
    lexical = context.release.words is not None and context.plan.lexical_candidates
    return _SOURCES[DENSE] + (_SOURCES[LEXICAL] if lexical else 0)


def _release_digest(context: RequestContext) -> bytes:
    return digest8(context.release.release_id, repr(context.plan))


def _searched_digest(context: RequestContext) -> bytes:
    return digest8(context.query.text, "" if context.selection is None else context.selection.condition)


def _rules_digest(context: RequestContext) -> bytes:
    return digest8(context.rules.digest)


async def _off_loop(rows: int, work: Callable[[], _Result]) -> _Result:
    return work() if rows <= _AT_ONCE else await on_thread(work)
