"""Whole trainings: which sets to learn from, in which stages, and by which settings."""
