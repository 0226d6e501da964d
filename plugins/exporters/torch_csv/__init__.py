"""Schedule files for PyTorch's pipelines: their rows, their checks and their manifest."""
