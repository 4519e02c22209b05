"""Runs models: ONNX Runtime sessions, the micro-batcher, the index, a fake for tests. No torch."""
