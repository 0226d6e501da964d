"""Models of ONNX files."""
