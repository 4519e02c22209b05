"""The lexical index: what products hold of words, and how a query is read."""
