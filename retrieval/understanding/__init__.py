"""Understanding of queries: what they state of a product, and which products conflict with it."""
