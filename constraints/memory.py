"""Weights, tensors and workspace on a device fit into its usable memory at every instant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import (
    Declaration,
    Demand,
    Resident,
    ResidentParameters,
    Resource,
    Running,
)
from parplan.problem import Problem


@frozen
class Memory(Constraint):
    """Usable memory is the capacity less the reserve; devices without a capacity are not limited.

    Lifetimes are those of ``Resident``: from the start of the producer (or of the transfer that
    brings it) to the end of the last consumer on the device.

    Attributes
    ----------
    weights_only
        Whether weights alone count, as where their sizes include what tensors take.
    """

    name: ClassVar[str] = "memory"

    weights_only: bool = False

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield one resource per device with a memory capacity."""
        for device in problem.cluster.devices:
            if device.usable_bytes is None:
                continue
            demands: list[Demand] = [ResidentParameters(device.name)]
            if not self.weights_only:
                passing = Running(device.name, per_workspace_byte=True)
                demands = [Resident(device.name), *demands, passing]
            yield Resource(f"{device.name}.memory", device.usable_bytes, tuple(demands), "bytes")
