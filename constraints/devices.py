"""Each engine of each device carries at most its capacity of tasks and transfers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import Declaration, Demand, Receiving, Resource, Running, Sending
from parplan.problem import Problem


@frozen
class Devices(Constraint):
    """A task holds the engines its mode names; a transfer those that the cluster names."""

    name: ClassVar[str] = "devices"

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield one resource per device and engine that is used."""
        used = {e for op in problem.graph.operators for mode in op.modes for e in mode.engines}
        sends, receives = problem.cluster.transfer_engines
        for device in problem.cluster.devices:
            for engine, capacity in device.engines.items():
                demands: list[Demand] = []
                if engine in used:
                    demands.append(Running(device.name, engine=engine))
                if engine == sends:
                    demands.append(Sending(device.name))
                if engine == receives:
                    demands.append(Receiving(device.name))
                if demands:
                    yield Resource(f"{device.name}.{engine}", capacity, tuple(demands), "tasks")
