"""The products of a snapshot: their table, tokens and columns."""
