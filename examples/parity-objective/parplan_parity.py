"""A parplan objective: how unevenly the devices work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.hooks import hookimpl
from parplan.model.schedule_model import ScheduleModel
from parplan.problem import Problem
from parplan.schedule import Schedule


@frozen
class Parity(Objective):
    """Busy seconds of the busiest device less those of the least busy one.

    Useful behind another objective: of all plans that are equally fast, the most even one. A gang
    counts on each of its devices.
    """

    name: ClassVar[str] = "parity"
    unit: ClassVar[str] = "s"

    def value(self, schedule: Schedule) -> float:
        """Return the difference in seconds."""
        busy = [0] * len(schedule.problem.cluster.devices)
        lengths = (schedule.ends - schedule.tasks.start).tolist()
        for row, length in enumerate(lengths):
            for device in schedule.alternative(row).devices:
                busy[device] += length
        return (max(busy) - min(busy)) * schedule.problem.tick_s

    def expression(self, model: ScheduleModel) -> Any:
        """Return busiest less idlest, in model ticks: b >= load[d] >= i for each device d."""
        block = model.block(self.name)
        loads = _loads(model)
        total = sum(size for load in loads for size, _ in load)
        busiest = block.time("busiest", 0, total, lambda value: max(_sums(loads, value)))
        idlest = block.time("idlest", 0, total, lambda value: min(_sums(loads, value)))
        for load in _sums(loads, lambda literal: literal):
            block.row(busiest - load >= 0)
            block.row(load - idlest >= 0)
        return busiest - idlest

    def expression_scale(self, model: ScheduleModel) -> float:
        """Return the seconds of a model tick."""
        return model.tick_s

    def bound(self, problem: Problem) -> float:
        """Return 0: no plan is more even than an even one."""
        return 0.0


Loads = list[list[tuple[int, Any]]]
"""For each device (ticks, binary variable or None for always) of all that may run there."""


def _loads(model: ScheduleModel) -> Loads:
    problem = model.problem
    loads: Loads = [[] for _ in problem.cluster.devices]
    for task in model.tasks.values():
        for alternative, literal in task.presence.items():
            for device in problem.alternatives[task.operator][alternative].devices:
                loads[device].append((task.sizes[alternative], literal))
    return loads


def _sums(loads: Loads, value: Callable[[Any], Any]) -> list[Any]:
    """Return the load of each device, with ``value`` in place of each variable."""
    return [sum(n if x is None else n * value(x) for n, x in load) for load in loads]


@hookimpl
def parplan_objectives() -> list[type[Objective]]:
    """Give the objective of this distribution."""
    return [Parity]
