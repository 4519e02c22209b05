"""The sample shops: a deterministic generator of products, queries and graded judgments."""
