"""Pages that are made of code and results: the reference and the benchmarks.

`make reference` writes them; a test compares what is committed with what is made.
"""
