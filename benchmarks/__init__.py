"""Benchmarks: each saves its parameters and results as JSON under `benchmarks/results`."""
