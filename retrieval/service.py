"""The gRPC service: reads a request, searches under a permit, a lease and a deadline, and writes the answer."""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from core.plan import Plan
from engine.types import DeadlineExceeded, EngineError
from retrieval import wire
from retrieval.admission import Admission, Overloaded
from retrieval.holder import Holder, NotReady, UnknownCatalog
from retrieval.query import InvalidRequest, Violation, check_market, read_query
from retrieval.search import search
from tandem.v1 import search_pb2

log = logging.getLogger("tandem.requests")

SERVICE = "tandem.v1.SearchService"
_MAX_REQUEST_ID = 128
_LATE = "no answer was ready within the deadline; give the call more time or ask for less"

Context: TypeAlias = grpc.aio.ServicerContext
Detail: TypeAlias = error_details_pb2.BadRequest | error_details_pb2.RetryInfo


class SearchService:
    """`tandem.v1.SearchService` over the releases of a holder."""

    def __init__(self, holder: Holder, admission: Admission, plan: Plan, default_deadline: float) -> None:
        """`default_deadline` is in seconds, for calls that set none."""
        self._holder = holder
        self._admission = admission
        self._plan = plan
        self._default_deadline = default_deadline

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods. Requests are parsed here, so that broken ones are told as INVALID_ARGUMENT."""
        method = grpc.unary_unary_rpc_method_handler(
            self.search,
            request_deserializer=_parse,
            response_serializer=search_pb2.SearchResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Search": method})

    async def search(self, request: search_pb2.SearchRequest | None, context: Context) -> search_pb2.SearchResponse:
        """Answers one call; every failure becomes a status of the google.rpc model."""
        deadline = self._deadline(context)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._answer(request, _request_id(context), deadline)
        except InvalidRequest as error:
            details = [wire.bad_request(error.violations)]
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error), details)
        except Overloaded as error:
            details = [wire.retry_info(error.retry_after)]
            await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error), details)
        except UnknownCatalog as error:
            await _abort(context, grpc.StatusCode.NOT_FOUND, str(error))
        except NotReady:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "no release is loaded yet; try again shortly")
        except (DeadlineExceeded, TimeoutError):
            await _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, _LATE)
        except EngineError as error:
            log.error("engine failed: %s", error)
            await _abort(context, grpc.StatusCode.UNAVAILABLE, f"the engine failed: {error}")

    async def _answer(
        self, request: search_pb2.SearchRequest | None, request_id: str, deadline: float
    ) -> search_pb2.SearchResponse:
        if request is None:
            raise InvalidRequest([Violation("request", "is not a SearchRequest: strings must be UTF-8")])
        query = read_query(request)
        with self._admission.enter() as permit, self._holder.get(request.catalog).lease() as release:
            check_market(query, release.manifest.language, release.manifest.country)
            answer = await search(query, self._plan, release, permit, deadline)
            return wire.response(request, query, answer, release, request_id)

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        seconds = self._default_deadline if remaining is None else remaining
        return asyncio.get_running_loop().time() + seconds


def _parse(data: bytes) -> search_pb2.SearchRequest | None:
    try:
        return search_pb2.SearchRequest.FromString(data)
    except DecodeError:
        return None


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and 0 < len(value) <= _MAX_REQUEST_ID:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return uuid.uuid4().hex


async def _abort(context: Context, code: grpc.StatusCode, message: str, details: Sequence[Detail] = ()) -> NoReturn:
    await context.abort(code, message, wire.status_metadata(code, message, details))
    raise AssertionError("abort does not return")
