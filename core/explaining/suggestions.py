"""Which changes are worth asking about: those of what a plan's critical path goes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parplan.declarations import Resident
from parplan.explaining.changes import DEFAULTS, Change
from parplan.explaining.shares import Share, Use
from parplan.figures.usage import summary
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.schedule import Schedule

FULL = 0.95
"""Part of its usable memory from which on a device counts as full."""


def suggested(schedule: Schedule, rules: Rules, parts: Sequence[Share]) -> tuple[Change, ...]:
    """Return a change of each resource that binds most.

    More speed of the device, and one more of its kind, where the path has the most work; more
    bandwidth of the links that it crosses or waits for longest; more memory where it waits for
    memory, or where a device is full.

    Parameters
    ----------
    parts
        What the plan's critical path consists of.
    """
    return tuple(_changes(schedule, rules, parts))


def _changes(schedule: Schedule, rules: Rules, parts: Sequence[Share]) -> Iterator[Change]:
    problem = schedule.problem
    index = problem.cluster.device_index
    work = next((s.what for s in parts if s.use == Use.WORK and s.what in index), None)
    if work is not None:
        yield Change("speed", (work,), DEFAULTS["speed"])
        kind = problem.cluster.devices[index[work]].kind
        yield Change("devices", (kind,), DEFAULTS["devices"])
    links = next((s.what for s in parts if s.use in (Use.TRANSFER, Use.LINK)), None)
    if links is not None:
        yield Change("bandwidth", tuple(links.split("+")), DEFAULTS["bandwidth"])
    device = _full(schedule, rules, parts)
    if device is not None:
        yield Change("memory", (device,), DEFAULTS["memory"])


def _full(schedule: Schedule, rules: Rules, parts: Sequence[Share]) -> str | None:
    """Return the device whose memory is waited for longest, or else the fullest one."""
    device_of = {
        resource.name: demand.device
        for _, resource in rules.resources
        for demand in resource.demands
        if isinstance(demand, Resident)
    }
    waited = next((s.what for s in parts if s.use == Use.MEMORY), None)
    if waited is not None:
        return device_of[waited]
    fullest = max(_fill(schedule), key=lambda pair: pair[0], default=(0.0, ""))
    return fullest[1] if fullest[0] >= FULL else None


def _fill(schedule: Schedule) -> Iterator[tuple[float, str]]:
    """Yield the part of its usable memory that each device with a limit uses at most."""
    problem: Problem = schedule.problem
    for device, use in zip(problem.cluster.devices, summary(schedule).devices, strict=True):
        if device.usable_bytes:
            yield use.peak_bytes / device.usable_bytes, device.name
