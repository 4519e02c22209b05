"""The trace that the caller's program is in."""

import sys


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """What carries the running span, its `traceparent`, in a program that uses OpenTelemetry; else nothing."""
    # This package neither needs nor loads it: where nobody has, there is no span.
    if (propagate := sys.modules.get("opentelemetry.propagate")) is None:
        return ()
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple((key.lower(), value) for key, value in carrier.items())
