"""A parplan objective: how unevenly the devices work."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.hooks import hookimpl
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

    def bound(self, problem: Problem) -> float:
        """Return 0: no plan is more even than an even one."""
        return 0.0


@hookimpl
def parplan_objectives() -> list[type[Objective]]:
    """Give the objective of this distribution."""
    return [Parity]
