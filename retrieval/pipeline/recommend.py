"""One list of recommendations, top to bottom."""

from core.plan import Plan
from retrieval.pipeline.arrange import arrange, arrange_matches
from retrieval.pipeline.explore import explore, report_slots
from retrieval.pipeline.listing import keep_matching, open_page, select
from retrieval.pipeline.person import read_person
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.recommend_fusing import fuse_sources
from retrieval.pipeline.recommend_matches import find_recommendable
from retrieval.pipeline.recommend_ranking import explain_hits, rank_recommended
from retrieval.pipeline.recommend_sources import recommend_sources, report_sources
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.rules import apply_rules, match_rules
from retrieval.pipeline.sources import ask_sources
from retrieval.profiles.profiles import Profiles
from retrieval.recommend.user import Subject
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query


async def recommend(
    query: Query,
    subject: Subject,
    plan: Plan,
    release: LoadedRelease,
    permit: Permit,
    deadline: float | None,
    profiles: Profiles | None = None,
    request_id: str = "",
) -> SearchResult:
    """Answers from one release, through one view of its catalog. `query` has no text: it is what the list is to be.

    `deadline` is a time of the running loop's clock, or None. A source that fails or is late is left out, and the
    result names it. Raises InvalidRequest, DeadlineExceeded, or EngineError where every source failed.
    """
    context = RecommendContext.start(query, plan, release, deadline, permit.pressure)
    context.subject, context.request_id = subject, request_id
    with context.result.naming_fallback():
        open_page(context)
        await apply_rules(context, await match_rules(context, ()), None)  # those without a condition on the query
        await select(context)
        await read_person(context, profiles)
        matches = await find_recommendable(context)
        if context.token is not None or query.listing.sort:
            await arrange_matches(context, [], matches, context.token, None)
            return context.result
        lists = await ask_sources(context, recommend_sources(context))
        report_sources(context, lists)
        candidates = keep_matching(context, await fuse_sources(context, lists), matches)
        ranked, slots = explore(context, await rank_recommended(context, candidates))
        with context.result.stage("arrange", len(candidates.rows)) as stage:
            context.result.hits = await arrange(context, lists, matches, ranked, None)
            stage.candidates_out = len(context.result.hits)
        report_slots(context, slots, ranked)
        await explain_hits(context, ranked)
    return context.result
