"""Sources of the models that Triton's Python backend runs; `engine.triton_repository` copies them beside their data."""
