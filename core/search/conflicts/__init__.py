"""Why no plan exists: the fewest requirements that clash, and the smallest changes that help."""
