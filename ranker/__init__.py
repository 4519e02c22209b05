"""The cross-encoder: pair packing and scores. Training lives in `ranker.train`, the only part that imports torch."""
