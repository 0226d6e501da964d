"""What other tools measured, as recordings."""
