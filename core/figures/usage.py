"""What a schedule uses: time, memory, links and work, as plain figures for people and objectives.

Functions of a valid schedule. A device's *busy* time is the time in which at least one task holds
one of its engines; its *bubble* is the rest of the makespan, as a part of it. Its *exposed
communication* is the time in which tasks hold engines of it, but none its engine ``compute``: an
exchange of tokens with nothing to compute beside it. So a makespan is compute, exposed
communication and bubble.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from parplan.checking.columns import Profile, Real, Whole
from parplan.checking.facts import Facts
from parplan.checking.usage import Usage
from parplan.declarations import (
    Demand,
    Moving,
    Resident,
    ResidentParameters,
    Resource,
    Running,
)
from parplan.errors import InputError
from parplan.graph import Repeat
from parplan.plans import Bound
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.schedule import Schedule

COMPUTE = "compute"
"""The engine beside which communication is hidden."""


@frozen
class DeviceUse:
    """What happens on one device over the whole schedule.

    Attributes
    ----------
    busy_s
        Seconds in which some task holds one of its engines.
    exposed_s
        The part of ``busy_s`` in which no task holds its engine ``compute``.
    bubble
        ``1 - busy / makespan``, from 0 to 1; 0 for an empty schedule.
    peak_bytes
        Most memory at any instant: parameters, tensors and workspace.
    parameter_bytes
        The part that is resident all the time.
    """

    name: str
    busy_s: float
    exposed_s: float
    bubble: float
    peak_bytes: int
    parameter_bytes: int

    @property
    def peak_activation_bytes(self) -> int:
        """The peak without the parameters."""
        return self.peak_bytes - self.parameter_bytes


@frozen
class LinkUse:
    """What one link carries: seconds held by transfers and collectives, and bytes of transfers."""

    name: str
    busy_s: float
    bytes: int


@frozen
class Summary:
    """The figures of a schedule.

    Attributes
    ----------
    exposed_s
        Mean of the devices' exposed communication.
    bubble
        Mean of the devices' bubbles.
    utilization
        Useful FLOP / (makespan x peak of all devices); None if a peak is not known.
    moved_bytes
        Bytes of all transfers and collectives, see ``moved_bytes``.
    """

    makespan_s: float
    devices: tuple[DeviceUse, ...]
    links: tuple[LinkUse, ...]
    exposed_s: float
    bubble: float
    utilization: float | None
    moved_bytes: int


def summary(schedule: Schedule) -> Summary:
    """Return all figures of a schedule; O(n log n) in tasks and transfers."""
    usage = Usage(Facts(schedule))
    devices = _devices(usage)
    computing = computing_devices(schedule.problem, devices)
    makespan_s = usage.facts.makespan * schedule.problem.tick_s
    return Summary(
        makespan_s,
        devices,
        _links(usage),
        sum(d.exposed_s for d in computing) / len(computing),
        sum(d.bubble for d in computing) / len(computing),
        _utilization_if_known(schedule),
        _moved(usage.facts),
    )


def computing_devices(problem: Problem, devices: Sequence[DeviceUse]) -> Sequence[DeviceUse]:
    """Return the devices with the engine ``compute``, over which means are taken; all if none.

    A host that only keeps tensors has no bubble.
    """
    specs = problem.cluster.devices
    found = [use for spec, use in zip(specs, devices, strict=True) if COMPUTE in spec.engines]
    return found or devices


def device_use(schedule: Schedule) -> tuple[DeviceUse, ...]:
    """Return busy time, bubble and peak memory of each device, in the cluster's order."""
    return _devices(Usage(Facts(schedule)))


def busy(schedule: Schedule) -> dict[str, float]:
    """Return the seconds in which some task holds an engine, by device."""
    return {device.name: device.busy_s for device in device_use(schedule)}


def peak_memory(schedule: Schedule) -> dict[str, int]:
    """Return the most bytes in use at any instant, by device: parameters, tensors, workspace."""
    return {device.name: device.peak_bytes for device in device_use(schedule)}


def memory_over_time(schedule: Schedule, device: str) -> tuple[Whole, Real]:
    """Return (ticks, bytes): the memory in use on a device from each tick to the next.

    The first entry is at tick 0 or before; the last level is what remains at the end.
    """
    return _steps(Usage(Facts(schedule)).profile(_memory(device)))


def memory_profiles(schedule: Schedule) -> tuple[tuple[Whole, Real], ...]:
    """Return ``memory_over_time`` of every device, in the cluster's order."""
    usage = Usage(Facts(schedule))
    devices = schedule.problem.cluster.devices
    return tuple(_steps(usage.profile(_memory(device.name))) for device in devices)


def resource_profile(schedule: Schedule, rules: Rules, resource: str) -> tuple[Whole, Real]:
    """Return (ticks, levels) of a declared resource, by its name.

    Raises
    ------
    InputError
        If no rule declares a resource of that name.
    """
    for _, declared in rules.resources:
        if declared.name == resource:
            return _steps(Usage(Facts(schedule)).profile(declared))
    known = ", ".join(r.name for _, r in rules.resources) or "none"
    raise InputError(f"no rule declares a resource '{resource}'; declared: {known}")


def link_use(schedule: Schedule) -> tuple[LinkUse, ...]:
    """Return seconds held and bytes carried of each link, in the cluster's order.

    A link of capacity 2 that carries two transfers at once counts both.
    """
    return _links(Usage(Facts(schedule)))


def longest_span_ticks(schedule: Schedule) -> int:
    """Return the longest time from first to last use, over all devices and links.

    A device is used by tasks that hold an engine and by transfers that leave or enter it, a link by
    transfers and collectives; work of no length counts with its instant.
    """
    facts = Facts(schedule)
    usage, x = Usage(facts), schedule.transfers
    task, device = _working(facts)
    freed = x.start + facts.moves.occupied
    devices = _longest_span(
        np.concatenate((device, x.source, x.target)),
        np.concatenate((facts.starts[task], x.start, x.start)),
        np.concatenate((facts.ends[task], freed, freed)),
    )
    ring, rows = usage.ring_links
    links = _longest_span(
        np.concatenate((facts.holds.link, ring)),
        np.concatenate((facts.holds.start, facts.starts[rows])),
        np.concatenate((facts.holds.end, facts.ends[rows])),
    )
    return max(devices, links)


def longest_stage_span_ticks(schedule: Schedule) -> int:
    """Return the longest time, over devices, from the start of its first task to its last's end.

    Tasks that hold no engine do not count.
    """
    facts = Facts(schedule)
    task, device = _working(facts)
    return _longest_span(device, facts.starts[task], facts.ends[task])


def _working(facts: Facts) -> tuple[Whole, Whole]:
    """Return (task, device) of all tasks that hold an engine."""
    holding = np.array([bool(mode.engines) for mode in facts.modes], dtype=np.bool_)
    task, device = facts.devices.at(facts.choice)
    kept = holding[facts.choice[task]]
    return task[kept], device[kept]


def operator_seconds(schedule: Schedule) -> dict[str, float]:
    """Return the seconds of each operator over all its runs."""
    facts = Facts(schedule)
    operators = schedule.problem.graph.operators
    total = np.bincount(schedule.tasks.operator, weights=facts.durations, minlength=len(operators))
    tick_s = schedule.problem.tick_s
    return {o.name: float(t) * tick_s for o, t in zip(operators, total, strict=True)}


def utilization(schedule: Schedule) -> float:
    """Return useful FLOP / (makespan x peak of all devices of the cluster), from 0 up.

    Useful is what the operators state, once per run: what recomputation adds is not useful work.
    With several number formats each kind of work counts by its own peak.

    Raises
    ------
    InputError
        If no device states its peak for a number format that operators use.
    """
    return _part(ideal_seconds(schedule.problem), schedule.makespan * schedule.problem.tick_s)


def ideal_seconds(problem: Problem) -> float:
    """Return how long the useful work takes if all devices run at their peak.

    Raises
    ------
    InputError
        If no device states its peak for a number format that operators use.
    """
    workload = problem.workload
    scales = sum(workload.scale(m) for m in range(workload.microbatches))
    work: dict[str, float] = {}
    for operator in problem.graph.operators:
        if operator.flops > 0:
            runs = 1.0 if operator.repeat is Repeat.STEP else scales
            work[operator.dtype] = work.get(operator.dtype, 0.0) + operator.flops * runs
    ideal = 0.0
    for dtype, total in work.items():
        peak = sum(device.peak_flops.get(dtype, 0.0) for device in problem.cluster.devices)
        if peak == 0:
            raise InputError(f"no device states peak_flops for '{dtype}'; utilization needs it")
        ideal += total / peak
    return ideal


def moved_bytes(schedule: Schedule) -> int:
    """Return the bytes of all transfers, and what the ranks of all collectives send.

    A transfer over several links counts once.
    """
    return _moved(Facts(schedule))


def bound_text(bound: Bound) -> str:
    """Return what proves a bound, as text: a solver's word is said to be its claim."""
    text = f"claimed by {bound.source}" if bound.claimed else bound.source
    return text if bound.scope == "problem" else f"{text} (holds only for {bound.scope})"


# -- how each figure is made ---------------------------------------------------------------------


def _part(part: float, of: float) -> float:
    return part / of if of > 0 else 0.0


def _memory(device: str) -> Resource:
    demands: tuple[Demand, ...] = (
        Resident(device),
        ResidentParameters(device),
        Running(device, per_workspace_byte=True),
    )
    return Resource(f"{device}.memory", 0.0, demands, "bytes")


def _steps(profile: Profile) -> tuple[Whole, Real]:
    if len(profile.ticks) and profile.ticks[0] <= 0:
        return profile.ticks, profile.levels
    ticks = np.concatenate((np.zeros(1, np.int64), profile.ticks))
    return ticks, np.concatenate(([profile.base], profile.levels))


def _devices(usage: Usage) -> tuple[DeviceUse, ...]:
    facts, tick_s = usage.facts, usage.facts.problem.tick_s
    holding = np.array([bool(m.engines) for m in facts.modes])
    computing = np.array([COMPUTE in m.engines for m in facts.modes])
    found = []
    for index, device in enumerate(facts.problem.cluster.devices):
        rows = usage.tasks_on.row(index)
        rows = rows[holding[facts.choice[rows]]]
        ticks = union_ticks(facts.starts[rows], facts.ends[rows])
        rows = rows[computing[facts.choice[rows]]]
        exposed = ticks - union_ticks(facts.starts[rows], facts.ends[rows])
        memory = _memory(device.name)
        found.append(
            DeviceUse(
                device.name,
                ticks * tick_s,
                exposed * tick_s,
                1.0 - _part(ticks, facts.makespan) if facts.makespan else 0.0,
                int(usage.profile(memory).peak),
                int(usage.base(memory)),
            )
        )
    return tuple(found)


def union_ticks(start: Whole, end: Whole) -> int:
    """Return how many ticks lie in at least one of the intervals [start, end)."""
    if not len(start):
        return 0
    order = np.argsort(start, kind="stable")
    reached = np.maximum.accumulate(end[order])
    covered = np.concatenate((start[order][:1], reached[:-1]))
    return int(np.maximum(reached - np.maximum(start[order], covered), 0).sum())


def _longest_span(place: Whole, start: Whole, end: Whole) -> int:
    """Return the longest time from first start to last end of one place."""
    if not len(place):
        return 0
    first = np.full(int(place.max()) + 1, np.iinfo(np.int64).max)
    last = np.full(len(first), np.iinfo(np.int64).min)
    np.minimum.at(first, place, start)
    np.maximum.at(last, place, end)
    used = np.bincount(place) > 0
    return int((last[used] - first[used]).max())


def _links(usage: Usage) -> tuple[LinkUse, ...]:
    facts = usage.facts
    link, moved = facts.holds.link, facts.moves.bytes[facts.holds.transfer]
    count = len(facts.problem.cluster.links)
    totals = np.bincount(link, weights=moved, minlength=count)
    found = []
    for index, spec in enumerate(facts.problem.cluster.links):
        loads = usage.loads(Resource(spec.name, 0.0, (Moving(spec.name),)))
        ticks = sum(int((load.end - load.start).sum()) for load in loads)
        found.append(LinkUse(spec.name, ticks * facts.problem.tick_s, int(totals[index])))
    return tuple(found)


def _utilization_if_known(schedule: Schedule) -> float | None:
    try:
        return utilization(schedule)
    except InputError:
        return None  # a peak is not stated; the report shows no figure then


def _moved(facts: Facts) -> int:
    rings = np.array([mode.ring_bytes * mode.devices for mode in facts.modes])[facts.choice]
    scaled = rings * facts.scale(facts.schedule.tasks.microbatch)
    return int(np.maximum(facts.moves.bytes, 0).sum()) + round(float(scaled.sum()))
