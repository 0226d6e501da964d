"""A plan: a checked schedule with its objective values, its proven bound and its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from parplan.problem import Problem
from parplan.schedule import Schedule


@frozen
class Bound:
    """A bound on the first objective.

    Attributes
    ----------
    value
        In the objective's unit.
    scope
        ``"problem"``: no plan of the problem as specified does better. Anything else names the
        restriction that it holds for, and never enters the gap.
    source
        What proved it, e.g. ``"device load"`` or ``"cp-sat 9.15"``.
    claimed
        True if it rests on a solver's word, false if the checker can recompute it.
    """

    value: float
    scope: str = "problem"
    source: str = ""
    claimed: bool = False


@frozen(eq=False)
class Plan:
    """The result of planning.

    Attributes
    ----------
    objectives
        Value of each objective by name, in order of importance.
    bound
        The best bound of scope ``"problem"``; None if there is none.
    status
        ``"optimal"`` if the bound meets the value, else ``"feasible"``.
    solver
        What found the schedule.
    provenance
        Versions, seconds, options, the history of incumbents, rounding.
    """

    problem: Problem
    schedule: Schedule
    objectives: Mapping[str, float]
    bound: Bound | None = None
    status: str = "feasible"
    solver: str = ""
    provenance: Mapping[str, Any] = field(factory=dict)

    @property
    def value(self) -> float:
        """Value of the first objective."""
        return next(iter(self.objectives.values()))

    @property
    def gap(self) -> float | None:
        """Relative distance of value and bound, ``|value - bound| / |value|``; None unbounded."""
        if self.bound is None or self.bound.scope != "problem":
            return None
        if self.value == self.bound.value:
            return 0.0
        return abs(self.value - self.bound.value) / max(abs(self.value), 1e-300)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: figures, Gantt chart and devices."""
        from parplan.api import notebook_html  # a plan is plain data: only who looks needs it

        return notebook_html(self)
