"""The leaf of the house: product schema, releases, plans, measures, errors. No torch, no gRPC."""
