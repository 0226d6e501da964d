"""Plans whose operators run on several devices at once, for PyTorch's DTensor and FSDP2."""
