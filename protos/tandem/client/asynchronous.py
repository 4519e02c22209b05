"""The client for asyncio."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from tandem.client.async_batches import AsyncOutbox
from tandem.client.batches import BROKEN_WHILE_SENDING, Progress, Request
from tandem.client.changes import named
from tandem.client.credentials import CallMetadata, Token
from tandem.client.errors import search_error, unreadable
from tandem.client.retries import RetryBudget, channel_options
from tandem.v1 import catalog_pb2, catalog_pb2_grpc, recommend_pb2, recommend_pb2_grpc, search_pb2, search_pb2_grpc

_STATUS_SECONDS = 1.0


class AsyncSearchClient:
    """One channel to the service, for any number of tasks of an event loop. Use it as a context manager or close it."""

    def __init__(
        self,
        address: str,
        timeout: float = 5.0,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
        token: Token | None = None,
        plaintext: bool = False,
    ) -> None:
        """As `SearchClient` takes them."""
        self._address = address
        self._metadata = CallMetadata(address, token, credentials is not None, plaintext)
        self._timeout = timeout
        self._retries = RetryBudget()
        every = channel_options(options)
        self._channel = (
            grpc.aio.insecure_channel(address, every)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, every)
        )
        self._stub = search_pb2_grpc.SearchServiceStub(self._channel)
        self._catalog_stub = catalog_pb2_grpc.CatalogServiceStub(self._channel)
        self._recommend_stub = recommend_pb2_grpc.RecommendServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and the calls in flight."""
        await self._channel.close()

    async def search(
        self, request: search_pb2.SearchRequest, timeout: float | None = None, request_id: str = ""
    ) -> search_pb2.SearchResponse:
        """As `SearchClient.search`; cancelling the task cancels the call. Raises SearchError."""
        return await self._call(self._stub.Search, request, timeout, request_id)

    async def suggest(
        self, request: search_pb2.SuggestRequest, timeout: float | None = None, request_id: str = ""
    ) -> search_pb2.SuggestResponse:
        """As `SearchClient.suggest`. Raises SearchError."""
        return await self._call(self._stub.Suggest, request, timeout, request_id)

    async def recommend(
        self, request: recommend_pb2.RecommendRequest, timeout: float | None = None, request_id: str = ""
    ) -> recommend_pb2.RecommendResponse:
        """As `SearchClient.recommend`. Raises SearchError."""
        return await self._call(self._recommend_stub.Recommend, request, timeout, request_id)

    async def forget_user(
        self, user_id: str, timeout: float | None = None, request_id: str = ""
    ) -> recommend_pb2.ForgetUserResponse:
        """As `SearchClient.forget_user`. Raises SearchError."""
        request = recommend_pb2.ForgetUserRequest(user_id=user_id)
        return await self._call(self._recommend_stub.ForgetUser, request, timeout, request_id)

    async def upsert(
        self, request: catalog_pb2.UpsertRequest, timeout: float | None = None, request_id: str = ""
    ) -> catalog_pb2.UpsertResponse:
        """As `SearchClient.upsert`. Raises SearchError."""
        return await self._call(self._catalog_stub.Upsert, named(request), timeout, request_id)

    async def delete(
        self, request: catalog_pb2.DeleteRequest, timeout: float | None = None, request_id: str = ""
    ) -> catalog_pb2.DeleteResponse:
        """As `SearchClient.delete`. Raises SearchError."""
        return await self._call(self._catalog_stub.Delete, named(request), timeout, request_id)

    async def update_fields(
        self, request: catalog_pb2.UpdateFieldsRequest, timeout: float | None = None, request_id: str = ""
    ) -> catalog_pb2.UpdateFieldsResponse:
        """As `SearchClient.update_fields`. Raises SearchError."""
        return await self._call(self._catalog_stub.UpdateFields, named(request), timeout, request_id)

    async def search_many(
        self, requests: Iterable[Request] | AsyncIterable[Request], request_id: str = ""
    ) -> AsyncIterator[search_pb2.BatchSearchResponse]:
        """As `SearchClient.search_many`. Raises SearchError, and what `requests` raises."""
        outbox, progress = AsyncOutbox(requests), Progress()
        while True:
            call = self._stub.BatchSearch(outbox.stream(), metadata=self._metadata.of(request_id))
            try:
                async for response in call:
                    if response is None:
                        raise unreadable(self._address)
                    outbox.take()
                    yield progress.note(response)
                break
            except grpc.aio.AioRpcError as error:
                cause = await _status(call, error)
                seconds = progress.seconds_to_wait(cause)
                if seconds is None:
                    raise search_error(cause, self._address) from None
            finally:
                call.cancel()
                await outbox.end()
            await asyncio.sleep(seconds)
        if outbox.failure is not None:
            raise outbox.failure

    async def _call(self, method: Any, request: Any, timeout: float | None, request_id: str) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._timeout if timeout is None else timeout)
        attempt = 1
        while True:
            try:
                answer = await method(request, timeout=until - loop.time(), metadata=self._metadata.of(request_id))
                if answer is None:
                    raise unreadable(self._address)
                self._retries.note_answer()
                return answer
            except grpc.aio.AioRpcError as error:
                seconds = self._retries.seconds_to_wait(error, attempt, until - loop.time())
                if seconds is None:
                    raise search_error(error, self._address) from None
            await asyncio.sleep(seconds)
            attempt += 1


async def _status(call: Any, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
    """What the service ended a stream with: sending on it meanwhile fails with an error of gRPC's own, which hides
    that."""
    if error.details() != BROKEN_WHILE_SENDING:
        return error
    try:
        async with asyncio.timeout(_STATUS_SECONDS):
            code, details = await call.code(), await call.details()
            metadata = await call.trailing_metadata()
    except (TimeoutError, grpc.RpcError):
        return error
    if code in (grpc.StatusCode.OK, grpc.StatusCode.INTERNAL):
        return error
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata or grpc.aio.Metadata(), details)
