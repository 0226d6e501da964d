"""Models as PyTorch traces them: calls of operators on tensors, with their gradients."""
