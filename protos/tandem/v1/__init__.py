"""Stubs generated from `search.proto` by `make protos`; never edited."""
