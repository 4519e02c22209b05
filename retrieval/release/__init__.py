"""Releases in memory: loading, swapping, and the engine of each."""
