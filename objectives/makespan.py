"""Seconds from the start to the end of the last task."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Criterion, Objective
from parplan.schedule import Schedule


@frozen
class Makespan(Objective):
    """The time of one step, flushed."""

    name: ClassVar[str] = "makespan"
    unit: ClassVar[str] = "s"
    follows: ClassVar[Criterion | None] = Criterion.MAKESPAN

    def value(self, schedule: Schedule) -> float:
        """Return the end of the last task in seconds."""
        return schedule.makespan * schedule.problem.tick_s

    def expression(self, model: Any) -> Any:
        """Return the model's makespan variable, in model ticks."""
        return model.makespan

    def expression_scale(self, model: Any) -> float:
        """Return the seconds of a model tick."""
        return float(model.tick_s)
