"""The part of the cluster's peak that does useful work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.engine_load import busiest_engine_ticks
from parplan.errors import InputError
from parplan.figures.usage import ideal_seconds, utilization
from parplan.problem import Problem
from parplan.schedule import Schedule

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel


@frozen
class Utilization(Objective):
    """Useful FLOP / (makespan x peak of all devices); recomputation is not useful work.

    For one problem it is the makespan turned over, so both have the same best schedules.
    """

    name: ClassVar[str] = "utilization"
    unit: ClassVar[str] = ""
    maximize: ClassVar[bool] = True

    def value(self, schedule: Schedule) -> float:
        """Return the utilization, from 0 up; InputError if no device states its peak."""
        return utilization(schedule)

    def expression(self, model: ScheduleModel) -> Any:
        """Return the negative makespan in model ticks, which has the same order."""
        return -model.makespan

    def from_expression(self, model: ScheduleModel, number: float) -> float:
        """Return the utilization of a negative makespan; infinite (no bound) if that is none."""
        seconds = -number * model.tick_s
        return ideal_seconds(model.problem) / seconds if seconds > 0 else float("inf")

    def to_expression(self, model: ScheduleModel, value: float) -> float:
        """Return the negative makespan of a utilization; of 0 (no work at all) the longest."""
        if value == 0:
            return -float(model.horizon)
        return -ideal_seconds(model.problem) / (value * model.tick_s)

    def bound(self, problem: Problem) -> float | None:
        """Return the utilization if the busiest engine never waited."""
        if all(rule.name != "devices" for rule in problem.constraints):
            return None
        try:
            ideal = ideal_seconds(problem)
        except InputError:
            return None  # ``value`` says what is missing
        least = busiest_engine_ticks(problem) * problem.tick_s
        return ideal / least if least > 0 else None
