"""The sample shop: a deterministic generator of products, queries and graded judgments."""
