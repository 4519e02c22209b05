"""What indexing makes of products, made of a few of them in memory, over the statistics of a release."""
