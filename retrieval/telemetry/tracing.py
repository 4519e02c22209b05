"""Traces: a span for each sampled call, one for each of its stages, and one for each call to Triton.

The caller's `traceparent` (W3C Trace Context) names the trace and says whether it is sampled. Spans of stages are made
once the call is answered, of the times that the result has; they are sent by OTLP from a thread of the library, which
drops what it cannot send.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import grpc
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from retrieval.pipeline.result import SearchResult
from retrieval.wire.status import Metadata

_CARRIED = ("traceparent", "tracestate")
_MOST_STATE = 512  # characters of a tracestate that are passed on
_NANOS = 1_000_000_000
_FLUSH_SECONDS = 3.0
_EXPORT_SECONDS = 5.0
# The statuses that are faults of the server, by OpenTelemetry's conventions for gRPC; the others are the caller's.
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class Traces:
    """Begins the traces of calls. For any number of threads."""

    def __init__(self, endpoint: str, share: float = 0.0, exporter: SpanExporter | None = None) -> None:
        """`endpoint` is the URL of an OTLP receiver over gRPC; `share` is of the calls that come without a trace."""
        self._share = share
        sampler = ParentBased(TraceIdRatioBased(share) if share else ALWAYS_OFF)
        resource = Resource.create({"service.name": "tandem", "service.version": version("tandem-retrieval")})
        self._provider = TracerProvider(sampler=sampler, resource=resource)
        export = exporter or OTLPSpanExporter(
            endpoint, insecure=not endpoint.startswith("https"), timeout=_EXPORT_SECONDS
        )
        self._provider.add_span_processor(BatchSpanProcessor(export))
        self._tracer = self._provider.get_tracer("tandem")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, metadata: Metadata) -> "CallTrace | None":
        """The trace of a call that comes now, by what its caller sent; None where it is not sampled."""
        carrier = {
            key: value
            for key, value in metadata
            if key in _CARRIED and isinstance(value, str) and len(value) <= _MOST_STATE
        }
        if not carrier and not self._share:
            return None
        context = self._propagator.extract(carrier, Context())
        parent = trace.get_current_span(context).get_span_context()
        if parent.is_valid and not parent.trace_flags.sampled:
            return None
        service, _, name = method.strip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        span = self._tracer.start_span(f"{service}/{name}", context, SpanKind.SERVER, attributes)
        return CallTrace(self._tracer, span) if span.is_recording() else None

    def close(self) -> None:
        """Sends what is left, for a few seconds at most."""
        # It waits for a receiver that may be gone; the thread is left behind then.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_FLUSH_SECONDS)


class CallTrace:
    """The spans of one call."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        """`span` is the call's own."""
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, Context())

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @contextmanager
    def remote_call(self, service: str, method: str, target: str) -> Iterator[Sequence[tuple[str, str]]]:
        """See `engine.spans.CallSpans`."""
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "tandem.model": target}
        span = self._tracer.start_span(f"{service}/{method}", self._context, SpanKind.CLIENT, attributes)
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span, Context()))
        try:
            yield tuple(carrier.items())
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def note_answer(self, catalog: str, release: str, request_id: str, answer: SearchResult) -> None:
        """Adds a span for each stage of an answer, and what the answer was made from. No text of the query."""
        # The stages' times are of the loop's clock, which is the monotonic one.
        offset = time.time_ns() - time.monotonic_ns()
        for stage in answer.stages:
            began = offset + int(stage.began * _NANOS)
            attributes = {"tandem.candidates_in": stage.candidates_in, "tandem.candidates_out": stage.candidates_out}
            span = self._tracer.start_span(stage.name, self._context, SpanKind.INTERNAL, attributes, start_time=began)
            span.end(began + int(stage.seconds * _NANOS))
        self._span.set_attributes(
            {
                "tandem.request_id": request_id,
                "tandem.catalog": catalog,
                "tandem.release": release,
                "tandem.revision": answer.view.revision,
                "tandem.hits": len(answer.hits),
                "tandem.degraded": sorted({entry.reason for entry in answer.degraded}),
            }
        )

    def end(self, code: grpc.StatusCode) -> None:
        """The call has ended."""
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in _FAULTS:
            self._span.set_status(Status(StatusCode.ERROR, code.name))
        self._span.end()
