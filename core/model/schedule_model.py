"""The Pyomo models of a problem: timing (with or without placement) and assignment."""

from __future__ import annotations


class ScheduleModel:
    """When everything happens."""


class AssignmentModel:
    """Which alternative runs each operator."""
