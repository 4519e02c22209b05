"""The gRPC service of recommendations: reads a request, answers under a permit, a lease and a deadline."""

import asyncio
from collections.abc import Awaitable
from functools import partial

import grpc

from core.audit import AuditError, AuditLog
from core.plan import Plan
from retrieval.pipeline.recommend import recommend
from retrieval.profiles.profiles import Profiles
from retrieval.release.manager import ReleaseManager
from retrieval.server.admission import Permit
from retrieval.server.call_server import Call
from retrieval.server.caller import Caller
from retrieval.server.calls import guarded, reader
from retrieval.server.catalogs import check_remember, find_release
from retrieval.server.causes import Causes
from retrieval.server.deadlines import Deadlines
from retrieval.server.failures import NoProfiles, NotLogged
from retrieval.server.revisions import reach_revision
from retrieval.telemetry.answered import Answered
from retrieval.telemetry.telemetry import QUIET, Telemetry
from retrieval.wire.filters import check_filter_fields
from retrieval.wire.recommend import read_forgotten, read_recommendation, recommend_response
from retrieval.wire.request import check_market
from tandem.v1 import recommend_pb2

RECOMMEND_SERVICE = "tandem.v1.RecommendService"
RECOMMEND_METHODS = (f"/{RECOMMEND_SERVICE}/Recommend",)
"""Methods that need a place among the searches."""
RECOMMEND_SHORT_METHODS = (f"/{RECOMMEND_SERVICE}/ForgetUser",)
"""Methods with places of their own."""


ANONYMOUS = "a caller without a credential"


class RecommendService:
    """`tandem.v1.RecommendService` over the releases of a holder."""

    def __init__(
        self,
        manager: ReleaseManager,
        plan: Plan,
        deadlines: Deadlines,
        profiles: Profiles | None = None,
        audit: AuditLog | None = None,
        telemetry: Telemetry = QUIET,
    ) -> None:
        """`profiles` are the stored ones of shoppers, None where there are none; `audit` has who deletes some, and
        `telemetry` notes each answer."""
        self._audit = audit
        self._telemetry = telemetry
        self._manager = manager
        self._plan = plan
        self._deadlines = deadlines
        self._profiles = profiles
        self._causes = Causes()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods."""
        methods = {
            "Recommend": grpc.unary_unary_rpc_method_handler(
                guarded(self.recommend),
                request_deserializer=reader(recommend_pb2.RecommendRequest),
                response_serializer=recommend_pb2.RecommendResponse.SerializeToString,
            ),
            "ForgetUser": grpc.unary_unary_rpc_method_handler(
                guarded(self.forget_user),
                request_deserializer=reader(recommend_pb2.ForgetUserRequest),
                response_serializer=recommend_pb2.ForgetUserResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(RECOMMEND_SERVICE, methods)

    async def recommend(
        self, request: recommend_pb2.RecommendRequest, context: Call
    ) -> recommend_pb2.RecommendResponse:
        """Answers a call that has its place; every failure becomes a status of the google.rpc model.

        Raises InvalidRequest."""

        def work(name: str, deadline: float) -> Awaitable[recommend_pb2.RecommendResponse]:
            return self._answer(request, name, deadline, context.permit, context.caller)

        return await self._deadlines.run(context, work)

    async def forget_user(
        self, request: recommend_pb2.ForgetUserRequest, context: Call
    ) -> recommend_pb2.ForgetUserResponse:
        """Deletes what is stored of a shopper; failures as of `recommend`."""
        return await self._deadlines.run(context, partial(self._forget, request, context.caller))

    async def _answer(
        self,
        request: recommend_pb2.RecommendRequest,
        request_id: str,
        deadline: float,
        permit: Permit,
        caller: Caller,
    ) -> recommend_pb2.RecommendResponse:
        read = read_recommendation(request)
        check_remember(request.user.remember, caller)
        with find_release(self._manager, request.catalog, caller).lease() as release:
            await reach_revision(release, request.least_revision, deadline)
            check_market(read.query, release.manifest.language, release.manifest.country)
            check_filter_fields(read.query.filter, release.view.field_kinds)
            answer = await recommend(
                read.query, read.subject, self._plan, release, permit, deadline, self._profiles, request_id
            )
            self._causes.log(answer, request_id)
            message = await recommend_response(request, read.query, answer, release, request_id)
            experiment = request.experiment.experiment_id, request.experiment.variant_id
            answered = Answered("Recommend", request_id, read.query, answer, release, experiment, permit)
            self._telemetry.note_answer(answered)
            return message

    async def _forget(
        self, request: recommend_pb2.ForgetUserRequest, caller: Caller, request_id: str, _: float
    ) -> recommend_pb2.ForgetUserResponse:
        user_id = read_forgotten(request)
        if self._profiles is None:
            raise NoProfiles("this service keeps no profiles; ask one that does (setting `profiles`)")
        if self._audit is not None:  # without the id, of which nothing is to be left
            await asyncio.to_thread(self._record, caller, request_id)
        # To its end, whatever the deadline: half of it would have to be asked for again.
        deleted = await asyncio.shield(self._profiles.forget(user_id))
        return recommend_pb2.ForgetUserResponse(request_id=request_id, profiles_deleted=deleted)

    def _record(self, caller: Caller, request_id: str) -> None:
        """Raises NotLogged, and then nothing is deleted."""
        assert self._audit is not None, "asked for where there is a log alone"
        try:
            self._audit.record("forget a shopper", who=caller.name or ANONYMOUS, request=request_id)
        except (AuditError, OSError) as error:
            raise NotLogged(str(error)) from error
