"""The client for threads."""

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from tandem.client.batches import Outbox, Progress, Request
from tandem.client.changes import named
from tandem.client.credentials import CallMetadata, Token
from tandem.client.errors import NOTHING_LISTENS, NotReachableError, search_error
from tandem.client.retries import RetryBudget, channel_options
from tandem.v1 import catalog_pb2, catalog_pb2_grpc, recommend_pb2, recommend_pb2_grpc, search_pb2, search_pb2_grpc

_PROBE_SECONDS = 0.2


class SearchClient:
    """One channel to the service, for any number of threads. Use it as a context manager, or close it."""

    def __init__(
        self,
        address: str,
        timeout: float = 5.0,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
        token: Token | None = None,
        plaintext: bool = False,
    ) -> None:
        """`address` is HOST:PORT or another target of gRPC; `timeout` is each call's deadline in seconds.

        Without `credentials` (see `tls_credentials`) the connection is not encrypted. `options` are the channel's,
        beside the retries'. `token` is a key or a JWT, or what returns the current one. Raises ValueError for one that
        would be sent to another machine in the clear, unless `plaintext` allows it.
        """
        self._address = address
        self._metadata = CallMetadata(address, token, credentials is not None, plaintext)
        self._timeout = timeout
        self._retries = RetryBudget()
        every = channel_options(options)
        self._channel = (
            grpc.insecure_channel(address, every)
            if credentials is None
            else grpc.secure_channel(address, credentials, every)
        )
        self._stub = search_pb2_grpc.SearchServiceStub(self._channel)
        self._catalog_stub = catalog_pb2_grpc.CatalogServiceStub(self._channel)
        self._recommend_stub = recommend_pb2_grpc.RecommendServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and the calls in flight."""
        self._channel.close()

    def search(
        self, request: search_pb2.SearchRequest, timeout: float | None = None, request_id: str = ""
    ) -> search_pb2.SearchResponse:
        """The response. A refused call is sent again when the service says, if the deadline allows, and not while many
        are refused.

        `timeout` in seconds replaces the client's; `request_id` names the call in the service's log.

        Raises SearchError.
        """
        return self._call(self._stub.Search, request, timeout, request_id)

    def suggest(
        self, request: search_pb2.SuggestRequest, timeout: float | None = None, request_id: str = ""
    ) -> search_pb2.SuggestResponse:
        """Completions of what is typed so far; arguments and errors as of `search`."""
        return self._call(self._stub.Suggest, request, timeout, request_id)

    def recommend(
        self, request: recommend_pb2.RecommendRequest, timeout: float | None = None, request_id: str = ""
    ) -> recommend_pb2.RecommendResponse:
        """Recommended products; arguments and errors as of `search`."""
        return self._call(self._recommend_stub.Recommend, request, timeout, request_id)

    def forget_user(
        self, user_id: str, timeout: float | None = None, request_id: str = ""
    ) -> recommend_pb2.ForgetUserResponse:
        """Deletes what is stored of a shopper, before it returns; arguments and errors as of `search`."""
        request = recommend_pb2.ForgetUserRequest(user_id=user_id)
        return self._call(self._recommend_stub.ForgetUser, request, timeout, request_id)

    def upsert(
        self, request: catalog_pb2.UpsertRequest, timeout: float | None = None, request_id: str = ""
    ) -> catalog_pb2.UpsertResponse:
        """Adds or replaces products. Sent again, also after a failure whose effect is unknown, it is applied once: a
        request without a `request_id` gets one. Arguments and errors as of `search`."""
        return self._call(self._catalog_stub.Upsert, named(request), timeout, request_id)

    def delete(
        self, request: catalog_pb2.DeleteRequest, timeout: float | None = None, request_id: str = ""
    ) -> catalog_pb2.DeleteResponse:
        """Removes products, as `upsert` adds them."""
        return self._call(self._catalog_stub.Delete, named(request), timeout, request_id)

    def update_fields(
        self, request: catalog_pb2.UpdateFieldsRequest, timeout: float | None = None, request_id: str = ""
    ) -> catalog_pb2.UpdateFieldsResponse:
        """Changes fields of products, as `upsert` adds them."""
        return self._call(self._catalog_stub.UpdateFields, named(request), timeout, request_id)

    def search_many(
        self, requests: Iterable[Request], request_id: str = ""
    ) -> Iterator[search_pb2.BatchSearchResponse]:
        """The outcome of each request, in their order, each with its answer or its error; for offline jobs.

        Requests are read as answers come, at most 64 ahead. They may have keys (`BatchSearchRequest`). A stream that
        breaks is opened again, and goes on after the last answer. The service answers batches after searches. Raises
        SearchError where it cannot be opened again, and what `requests` raises.
        """
        outbox, progress = Outbox(requests), Progress()
        try:
            while True:
                call = self._stub.BatchSearch(outbox.stream(), metadata=self._metadata.of(request_id))
                try:
                    for response in call:
                        outbox.take()
                        yield progress.note(response)
                    break
                except grpc.RpcError as error:
                    assert isinstance(error, grpc.Call)
                    seconds = progress.seconds_to_wait(error)
                    if seconds is None:
                        raise search_error(error, self._address) from None
                finally:
                    call.cancel()
                time.sleep(seconds)
        finally:
            outbox.end()
        if outbox.failure is not None:
            raise outbox.failure

    def _call(self, method: Any, request: Any, timeout: float | None, request_id: str) -> Any:
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        attempt = 1
        while True:
            try:
                answer = method(request, timeout=until - time.monotonic(), metadata=self._metadata.of(request_id))
                self._retries.note_answer()
                return answer
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                seconds = self._retries.seconds_to_wait(error, attempt, until - time.monotonic())
                if seconds is None:
                    raise search_error(error, self._address) from None
            time.sleep(seconds)
            attempt += 1

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the service accepts connections, for `timeout` seconds or the client's. Raises SearchError."""
        try:
            grpc.channel_ready_future(self._channel).result(self._timeout if timeout is None else timeout)
        except grpc.FutureTimeoutError:
            raise self._reason() from None

    def _reason(self) -> Exception:
        """Why there is no connection: a call that does not wait for one fails at once with the reason."""
        try:
            self._stub.Search(search_pb2.SearchRequest(), timeout=_PROBE_SECONDS)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return search_error(error, self._address)
        return NotReachableError(NOTHING_LISTENS.format(self._address))
