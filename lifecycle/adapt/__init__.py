"""Adapts models to a shop that nobody judged: read → queries → candidates → labels → fit → check → record."""
