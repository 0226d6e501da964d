"""Seconds from one sample to the next in a steady state: the load of the busiest engine or link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.engine_load import busiest_engine_ticks
from parplan.problem import Problem
from parplan.schedule import Schedule
from parplan.steady_state import Loading, busiest_ticks

if TYPE_CHECKING:
    from parplan.model.schedule_model import AssignmentModel, ScheduleModel


@frozen
class SteadyState(Objective):
    """How long the busiest engine or link is held for one microbatch.

    Where microbatches follow one another without an end, this is their distance: the inverse of
    the throughput. It depends on devices and transfers alone, not on times. Memory of further
    microbatches under way does not count.

    Attributes
    ----------
    leaves_once
        A tensor leaves its device once, however many devices receive it, as where it is handed
        over through host memory.
    """

    name: ClassVar[str] = "steady-state"
    unit: ClassVar[str] = "s"

    leaves_once: bool = False

    def loading(self) -> Loading:
        """Return how transfers load engines and links."""
        return Loading(self.leaves_once)

    def value(self, schedule: Schedule) -> float:
        """Return seconds per microbatch."""
        return busiest_ticks(schedule, self.loading()) * schedule.problem.tick_s

    def expression(self, model: ScheduleModel) -> Any:
        """Return a variable for the load of a step, in parts of a model tick."""
        return self._load(model)

    def expression_scale(self, model: ScheduleModel) -> float:
        """Return the seconds per microbatch of one unit of the load."""
        from parplan.model.loads import load_unit

        return float(model.tick_s) / load_unit(model.problem) / model.problem.workload.microbatches

    def assignment_expression(self, model: AssignmentModel) -> Any:
        """Return a variable for the load of a step, as ``expression`` does."""
        return self._load(model)

    def bound(self, problem: Problem) -> float | None:
        """Return what the busiest engine must do, for the best placement."""
        return busiest_engine_ticks(problem) * problem.tick_s / problem.workload.microbatches

    def _load(self, model: ScheduleModel | AssignmentModel) -> Any:
        from parplan.model.loads import busiest_load

        return busiest_load(model.block(self.name), model, self.loading())
