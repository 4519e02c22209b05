"""What runs inside Triton, beside the models of ONNX."""
