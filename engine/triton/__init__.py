"""The engine that sends its work to a Triton server."""
