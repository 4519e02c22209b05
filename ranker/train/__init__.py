"""Fine-tunes the cross-encoder and exports it to int8 ONNX."""
