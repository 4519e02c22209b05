"""Fine-tunes the towers and exports them to int8 ONNX."""
