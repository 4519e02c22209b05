"""One search, top to bottom."""

from core.plan import Plan
from retrieval.pipeline.arrange import RankedCandidates, arrange, arrange_matches
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.fusing import fuse
from retrieval.pipeline.listing import as_before, find_matches, keep_matching, open_page, select
from retrieval.pipeline.personal import read_shopper, shift_to_shopper
from retrieval.pipeline.prerank import prerank
from retrieval.pipeline.ranking import rank
from retrieval.pipeline.rescore import rescore
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.sources import ask_sources, search_sources
from retrieval.pipeline.understand import leave_out, understand
from retrieval.pipeline.word_contributions import explain_words
from retrieval.profiles.profiles import Profiles
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query


async def search(
    query: Query,
    plan: Plan,
    release: LoadedRelease,
    permit: Permit,
    deadline: float | None,
    profiles: Profiles | None = None,
) -> SearchResult:
    """Answers a query from one release, through one view of its catalog. The permit shows that the call was admitted.

    `deadline` is a time of the running loop's clock, or None. Raises DeadlineExceeded or EngineError when no source
    returned candidates in time; a stage that can be left out degrades the result and names itself.
    """
    context = RequestContext.start(query, plan, release, deadline, permit.pressure)
    with context.result.naming_fallback():
        open_page(context)
        bounds = await understand(context)
        await select(context)
        await leave_out(context)
        lists = as_before(context, await ask_sources(context, search_sources(context)))
        matches = await find_matches(context, lists)
        await read_shopper(context, profiles)
        if context.token is not None or query.listing.sort:
            await arrange_matches(context, lists, matches, context.token, bounds)
            await explain_words(context)
            return context.result
        candidates = keep_matching(context, await fuse(context, lists), matches)
        shortlist = await prerank(context, candidates, bounds)
        relevance = await rescore(context, shortlist.candidates)
        with context.result.stage("arrange", len(shortlist)) as stage:
            ranking = await rank(context, shortlist, relevance, await shift_to_shopper(context, shortlist))
            ranked = RankedCandidates(shortlist, ranking, relevance)
            context.result.hits = await arrange(context, lists, matches, ranked, bounds)
            stage.candidates_out = len(context.result.hits)
        await explain_words(context)
    return context.result
