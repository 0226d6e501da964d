"""Upper level: which alternative runs each operator."""

from __future__ import annotations


class AssignmentModel:
    """Which alternative runs each operator."""
