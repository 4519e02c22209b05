"""A request from its text to its hits."""
