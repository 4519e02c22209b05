"""ONNX Runtime: sessions, shared tables, trees, and the bundled tower."""
