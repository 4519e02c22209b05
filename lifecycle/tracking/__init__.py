"""What a training leaves beside its model: lineage, curves, runs in MLflow."""
