"""A plugin for family piper: all layers of a stage have the same degrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Constraint, Violation
from parplan.hooks import hookimpl
from parplan.schedule import Schedule


@frozen
class StageDegrees(Constraint):
    """What runs on one device runs on the same devices, in modes of the same degrees.

    A mode's name begins with its degrees, e.g. ``"t2 d4 vanilla"``.
    """

    name: ClassVar[str] = "stage-degrees"

    def violations(self, schedule: Schedule) -> Iterable[Violation]:
        """Yield each device with two degrees, or in two groups of devices."""
        problem, tasks = schedule.problem, schedule.tasks
        seen: dict[int, tuple[tuple[int, ...], list[str]]] = {}
        for operator, row in zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True):
            alternative = problem.alternatives[operator][row]
            spec = problem.graph.operators[operator]
            own = alternative.devices, spec.modes[alternative.mode].name.split(" ")[:2]
            for device in alternative.devices:
                if seen.setdefault(device, own) != own:
                    where = problem.cluster.devices[device].name
                    message = f"'{spec.name}' has other degrees or devices than the rest of it"
                    yield Violation(self.name, where, message)


@hookimpl
def parplan_constraints() -> list[type[Constraint]]:
    """Offer the constraint."""
    return [StageDegrees]
