"""The towers: tokenise, encode, bulk embedding. Training lives in `encoder.train`, the only part that imports torch."""
