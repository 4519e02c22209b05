"""The rows of `benchmarks/gpu.py`. Each is a function of a `Bench` that returns what it saw."""
