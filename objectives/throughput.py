"""Microbatches per second if the schedule is repeated as soon as each device and link is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from parplan.contracts import Criterion, Objective
from parplan.engine_load import busiest_engine_ticks
from parplan.figures.usage import longest_span_ticks
from parplan.problem import Problem
from parplan.schedule import Schedule

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel


@frozen
class Throughput(Objective):
    """Microbatches / longest span, the steady state of an endless run.

    The span of a device or link is the time from its first use to its last. A copy of the schedule
    may start one longest span after another: on no device or link do the two meet, nor in memory
    (results of the graph are taken away). Zero Bubble (Qi et al., 2024) reports this span.
    """

    name: ClassVar[str] = "throughput"
    unit: ClassVar[str] = "microbatches/s"
    maximize: ClassVar[bool] = True
    follows: ClassVar[Criterion | None] = Criterion.LONGEST_SPAN

    def value(self, schedule: Schedule) -> float:
        """Return microbatches per second; infinite if nothing takes any time."""
        problem = schedule.problem
        return _rate(problem, longest_span_ticks(schedule))

    def expression(self, model: ScheduleModel) -> Any:
        """Return the negative longest span in model ticks, which has the same order."""
        from parplan.model.spans import longest_span, uses_of_devices, uses_of_links

        problem = model.problem
        devices = [f"device {device.name}" for device in problem.cluster.devices]
        links = [f"link {link.name}" for link in problem.cluster.links]
        places = [(devices[d], uses) for d, uses in uses_of_devices(model).items()]
        places += [(links[k], uses) for k, uses in uses_of_links(model).items()]
        return -longest_span(model.block(self.name), model, places)

    def from_expression(self, model: ScheduleModel, number: float) -> float:
        """Return the rate of a negative span; infinite (no bound) if the span is none."""
        return _rate(model.problem, -number * model.clock.factor) if number < 0 else float("inf")

    def to_expression(self, model: ScheduleModel, value: float) -> float:
        """Return the negative span of a rate."""
        return -model.problem.workload.microbatches / (value * model.tick_s)

    def from_figure(self, problem: Problem, ticks: float) -> float:
        """Return the rate of a span of tasks: that with transfers is no shorter."""
        return _rate(problem, ticks)

    def to_figure(self, problem: Problem, value: float) -> float:
        """Return the span of a rate."""
        return problem.workload.microbatches / (value * problem.tick_s)

    def bound(self, problem: Problem) -> float | None:
        """Return the rate at which the busiest engine never waits, for the best placement."""
        if all(rule.name != "devices" for rule in problem.constraints):
            return None
        least = busiest_engine_ticks(problem)
        return _rate(problem, least) if least > 0 else None


def _rate(problem: Problem, ticks: float) -> float:
    seconds = ticks * problem.tick_s
    return problem.workload.microbatches / seconds if seconds > 0 else float("inf")
