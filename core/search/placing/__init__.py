"""Operators on devices and in modes: blocks, splits, ways, and what a placement is worth."""
