"""Records of a training beside its model: lineage, curves, runs in MLflow."""
