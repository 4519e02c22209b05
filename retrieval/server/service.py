"""The gRPC service: reads a request, searches under a permit, a lease and a deadline, and writes the answer."""

import asyncio
from collections.abc import Awaitable
from functools import partial

import grpc

from core.plan import Plan
from retrieval.pipeline.search import search
from retrieval.profiles.profiles import Profiles
from retrieval.release.manager import ReleaseManager
from retrieval.server.admission import Permit
from retrieval.server.call_server import Call
from retrieval.server.caller import Caller
from retrieval.server.calls import guarded, reader
from retrieval.server.catalogs import check_remember, find_release
from retrieval.server.causes import Causes
from retrieval.server.deadlines import Deadlines
from retrieval.server.failures import NoSuggestions
from retrieval.server.revisions import reach_revision
from retrieval.telemetry.answered import Answered
from retrieval.telemetry.telemetry import QUIET, Telemetry
from retrieval.wire import response as wire
from retrieval.wire.filters import check_filter_fields
from retrieval.wire.request import check_market, read_query
from retrieval.wire.suggest import read_prefix, suggestions
from tandem.v1 import search_pb2

SERVICE = "tandem.v1.SearchService"
METHODS = (f"/{SERVICE}/Search",)
"""Methods that need a place among the searches."""
SHORT_METHODS = (f"/{SERVICE}/Suggest",)
"""Methods that take about a millisecond, with places of their own."""


class SearchService:
    """`tandem.v1.SearchService` over the releases of a holder."""

    def __init__(
        self,
        manager: ReleaseManager,
        plan: Plan,
        deadlines: Deadlines,
        profiles: Profiles | None = None,
        telemetry: Telemetry = QUIET,
    ) -> None:
        """`profiles` are the stored ones of shoppers, None where there are none. `telemetry` notes each answer."""
        self._telemetry = telemetry
        self._profiles = profiles
        self._manager = manager
        self._plan = plan
        self._deadlines = deadlines
        self._causes = Causes()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods."""
        methods = {
            "Search": grpc.unary_unary_rpc_method_handler(
                guarded(self.search),
                request_deserializer=reader(search_pb2.SearchRequest),
                response_serializer=search_pb2.SearchResponse.SerializeToString,
            ),
            "Suggest": grpc.unary_unary_rpc_method_handler(
                guarded(self.suggest),
                request_deserializer=reader(search_pb2.SuggestRequest),
                response_serializer=search_pb2.SuggestResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def search(self, request: search_pb2.SearchRequest, context: Call) -> search_pb2.SearchResponse:
        """Answers a call that has its place; every failure becomes a status of the google.rpc model.

        Raises InvalidRequest."""

        def work(name: str, deadline: float) -> Awaitable[search_pb2.SearchResponse]:
            return self.answer(request, name, deadline, context.permit, context.caller)

        return await self._deadlines.run(context, work)

    async def suggest(self, request: search_pb2.SuggestRequest, context: Call) -> search_pb2.SuggestResponse:
        """Completes what is typed so far; failures as of `search`."""
        return await self._deadlines.run(context, partial(self._complete, request, context.caller))

    async def answer(
        self, request: search_pb2.SearchRequest, request_id: str, deadline: float, permit: Permit, caller: Caller
    ) -> search_pb2.SearchResponse:
        """Answers one search of a call or of a stream. Raises InvalidRequest, and what `failure_of` knows."""
        query = read_query(request)
        check_remember(request.user.remember, caller)
        with find_release(self._manager, request.catalog, caller).lease() as release:
            await reach_revision(release, request.least_revision, deadline)
            check_market(query, release.manifest.language, release.manifest.country)
            check_filter_fields(query.filter, release.view.field_kinds)
            answer = await search(query, self._plan, release, permit, deadline, self._profiles)
            self._causes.log(answer, request_id)
            message = await wire.response(request, query, answer, release, request_id)
            release.reserve.observe(asyncio.get_running_loop().time() - answer.arranging_since)
            experiment = request.experiment.experiment_id, request.experiment.variant_id
            self._telemetry.note_answer(Answered("Search", request_id, query, answer, release, experiment, permit))
            return message

    async def _complete(
        self, request: search_pb2.SuggestRequest, caller: Caller, request_id: str, _: float
    ) -> search_pb2.SuggestResponse:
        prefix = read_prefix(request)
        with find_release(self._manager, request.catalog, caller).lease() as release:
            if release.suggester is None:
                raise NoSuggestions(f"catalog {release.manifest.catalog!r} has no suggestions: index it again")
            completions = await release.suggester.suggest(prefix.text, prefix.limit)
            return suggestions(completions, release, request_id)
