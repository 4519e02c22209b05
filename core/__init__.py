"""The leaf of the house: product schema, releases, plans, measures, errors. No torch, no gRPC."""

from core.telemetry import disable_telemetry

disable_telemetry()
