"""Seconds of the longest stage span: what a step takes where the optimizer needs no barrier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from parplan.contracts import Criterion, Objective
from parplan.engine_load import busiest_engine_ticks
from parplan.figures.usage import longest_stage_span_ticks
from parplan.problem import Problem
from parplan.schedule import Schedule

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel


@frozen
class StageSpan(Objective):
    """The longest time, over devices, from the start of its first task to the end of its last.

    Without a barrier at the optimizer step a device goes on with its next step while others still
    end this one, so steps follow one another at this distance (post-validation; Qi et al., "Zero
    Bubble Pipeline Parallelism", ICLR 2024, section 4). Transfers are no tasks and do not count.
    """

    name: ClassVar[str] = "stage-span"
    unit: ClassVar[str] = "s"
    follows: ClassVar[Criterion | None] = Criterion.LONGEST_SPAN

    def value(self, schedule: Schedule) -> float:
        """Return the longest span in seconds."""
        return longest_stage_span_ticks(schedule) * schedule.problem.tick_s

    def expression(self, model: ScheduleModel) -> Any:
        """Return a variable for the longest span, in model ticks."""
        from parplan.model.spans import longest_span, uses_by_tasks

        names = [device.name for device in model.problem.cluster.devices]
        places = ((names[d], uses) for d, uses in uses_by_tasks(model).items())
        return longest_span(model.block(self.name), model, places)

    def expression_scale(self, model: ScheduleModel) -> float:
        """Return the seconds of a model tick."""
        return float(model.tick_s)

    def bound(self, problem: Problem) -> float | None:
        """Return how long the busiest engine must work, for the best placement."""
        if all(rule.name != "devices" for rule in problem.constraints):
            return None
        return busiest_engine_ticks(problem) * problem.tick_s
