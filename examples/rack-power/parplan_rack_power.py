"""A parplan constraint: the devices of a rack together draw at most so many watts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from attrs import field, frozen

from parplan.contracts import Constraint
from parplan.declarations import Declaration, Resource, Running
from parplan.errors import InputError
from parplan.hardware import Device
from parplan.hooks import hookimpl
from parplan.problem import Problem


@frozen
class Rack:
    """Devices on one power feed, by name, and what the feed can give."""

    devices: tuple[str, ...]
    limit_watts: float


@frozen
class RackPower(Constraint):
    """The power drawn by the devices of a rack is at most its limit at every instant.

    A device draws its running power while its compute engine is busy and its idle power
    otherwise. Both come from the device's ``attributes`` ``watts`` and ``idle_watts``, else from
    the options here, by kind of device. Idle power that nobody states counts as 0.

    Attributes
    ----------
    racks
        The racks by name.
    watts, idle_watts
        Power of a device by its kind.
    """

    name: ClassVar[str] = "rack-power"

    racks: Mapping[str, Rack]
    watts: Mapping[str, float] = field(factory=dict)
    idle_watts: Mapping[str, float] = field(factory=dict)

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield one resource per rack: running power on top of idle power."""
        cluster = problem.cluster
        for name, rack in self.racks.items():
            unknown = [d for d in rack.devices if d not in cluster.device_index]
            if unknown:
                raise InputError(f"rack '{name}' names unknown device '{unknown[0]}'")
            devices = [cluster.devices[cluster.device_index[d]] for d in rack.devices]
            yield self._resource(name, rack.limit_watts, devices)

    def _resource(self, rack: str, limit: float, devices: list[Device]) -> Resource:
        idle = {d.name: self._power(d, "idle_watts", self.idle_watts, 0.0) for d in devices}
        running = {d.name: self._power(d, "watts", self.watts, None) for d in devices}
        left = limit - sum(idle.values())
        extra = {device: running[device] - idle[device] for device in running}
        for device, watts in extra.items():
            if watts < 0:
                raise InputError(
                    f"device '{device}' draws {running[device]:g} W when it runs and "
                    f"{idle[device]:g} W when it is idle; state both in watts"
                )
            if not watts <= left:
                raise InputError(
                    f"rack '{rack}' may draw {limit:g} W, too little to run device '{device}' "
                    f"alone: it takes {running[device]:g} W and the others at least "
                    f"{sum(idle.values()) - idle[device]:g} W; state all of them in watts"
                )
        demands = [Running(device, watts, engine="compute") for device, watts in extra.items()]
        return Resource(rack, left, demands, "W")

    def _power(
        self, device: Device, key: str, by_kind: Mapping[str, float], default: float | None
    ) -> float:
        """Return a figure of a device in watts, from its attributes or from the options."""
        watts = device.attributes.get(key, by_kind.get(device.kind, default))
        if watts is None:
            raise InputError(
                f"no power is known for device '{device.name}'; give it the attribute '{key}', "
                f"or give '{key}' for its kind '{device.kind}' in the options of rack-power"
            )
        if not math.isfinite(watts) or watts < 0:
            raise InputError(
                f"device '{device.name}': {key} is {watts}; it must be finite and not negative"
            )
        return watts


@hookimpl
def parplan_constraints() -> list[type[Constraint]]:
    """Give the constraint of this distribution."""
    return [RackPower]
