"""Bytes that cross the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.figures.usage import moved_bytes
from parplan.problem import Problem
from parplan.schedule import Schedule

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel


@frozen
class Traffic(Objective):
    """Bytes of all transfers, and what the ranks of all collectives send.

    A transfer counts once, however many links it crosses.
    """

    name: ClassVar[str] = "traffic"
    unit: ClassVar[str] = "B"

    def value(self, schedule: Schedule) -> float:
        """Return the bytes moved."""
        return float(moved_bytes(schedule))

    def expression(self, model: ScheduleModel) -> Any:
        """Return the sum of bytes x presence over transfers and collectives."""
        total: Any = 0
        for key in model.transport.possible:
            transfer = model.transport.make(key)
            for option, literal in zip(transfer.options, transfer.literals, strict=True):
                total += option.bytes * (1 if literal is None else literal)
        problem = model.problem
        for task in model.tasks.values():
            scale = problem.workload.scale(task.microbatch)
            for index, literal in task.presence.items():
                alternative = problem.alternatives[task.operator][index]
                mode = problem.graph.operators[task.operator].modes[alternative.mode]
                sent = round(mode.ring_bytes * mode.devices * scale)
                if sent:
                    total += sent * (1 if literal is None else literal)
        return total

    def bound(self, problem: Problem) -> float | None:
        """Return 0: no schedule moves less."""
        return 0.0
