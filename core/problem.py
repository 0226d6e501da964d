"""The problem: graph x cluster x workload with its rules, in whole ticks, no solver in sight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from attrs import field, frozen

from parplan.errors import InputError
from parplan.graph import Graph, Repeat
from parplan.hardware import Cluster, Link
from parplan.ticks import ticks_up
from parplan.workload import Workload

STEP = -1
"""The microbatch of work that is done once per step."""


@frozen
class Rule:
    """A constraint or an objective by name, with its options as written in the spec."""

    name: str
    options: Mapping[str, Any] = field(factory=dict)


DEFAULT_CONSTRAINTS = (Rule("devices"), Rule("links"), Rule("memory"))
"""What holds for every cluster, unless a spec says otherwise."""


@frozen
class Alternative:
    """One way to run an operator: a mode on a device group (indices)."""

    mode: int
    devices: tuple[int, ...]


@frozen
class LinkHold:
    """A link held by a transfer, from ``offset`` ticks after its start, for ``ticks``."""

    link: int
    offset: int
    ticks: int


@frozen
class TransferTiming:
    """Times of one transfer, in ticks after its start.

    Attributes
    ----------
    holds
        What it holds of each link.
    occupied
        Until when it holds the source's copy and the engines: the end of the last hold.
    arrival
        When readers at the target may start: ``occupied`` plus the latencies.
    """

    holds: tuple[LinkHold, ...]
    occupied: int
    arrival: int


class _Way(NamedTuple):
    """A route: its links, the slowdown by engines, its latency in ticks and least bandwidth.

    ``narrowest`` is None where links are held one after another.
    """

    link_numbers: tuple[int, ...]
    links: tuple[Link, ...]
    slow: float
    latency: int
    narrowest: float | None


@frozen
class Problem:
    """What is to be planned, frozen and validated.

    Attributes
    ----------
    constraints, objectives
        Rules by plugin name; objectives in order of importance (lexicographic).
    tick_s
        Length of a tick in seconds.

    Raises
    ------
    InputError
        If an operator has no mode that any device can run, or a mode names unknown things.
    """

    name: str
    graph: Graph
    cluster: Cluster
    workload: Workload
    constraints: tuple[Rule, ...] = DEFAULT_CONSTRAINTS
    objectives: tuple[Rule, ...] = (Rule("makespan"),)
    tick_s: float = 1e-6

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.tick_s) or self.tick_s <= 0:
            raise InputError(f"tick_s is {self.tick_s}; it must be finite and above zero")
        if not self.objectives:
            raise InputError("a problem needs at least one objective, e.g. 'makespan'")
        for index, operator in enumerate(self.graph.operators):
            for mode in operator.modes:
                for group in mode.groups:
                    for name in group:
                        if name not in self.cluster.device_index:
                            raise InputError(
                                f"operator '{operator.name}', mode '{mode.name}': "
                                f"unknown device '{name}'"
                            )
            if not self.alternatives[index]:
                raise InputError(
                    f"operator '{operator.name}' has no mode that any device of cluster "
                    f"'{self.cluster.name}' can run; give it seconds for one of the kinds "
                    f"{sorted({d.kind for d in self.cluster.devices})}"
                )

    # -- tasks ---------------------------------------------------------------------------------

    def microbatches_of(self, operator: int) -> range:
        """Return the microbatches an operator runs for; ``range(-1, 0)`` if once per step."""
        if self.graph.operators[operator].repeat is Repeat.STEP:
            return range(STEP, STEP + 1)
        return range(self.workload.microbatches)

    def groups_of(self, operator: int) -> range:
        """Return the placement groups of an operator; group 0 alone if it runs once per step."""
        if self.graph.operators[operator].repeat is Repeat.STEP:
            return range(1)
        return range(self.workload.group_count)

    def tasks(self) -> Iterator[tuple[int, int]]:
        """Yield every task as (operator index, microbatch), operators in the graph's order."""
        for operator in range(len(self.graph.operators)):
            for microbatch in self.microbatches_of(operator):
                yield operator, microbatch

    @cached_property
    def task_count(self) -> int:
        """Number of tasks."""
        return sum(len(self.microbatches_of(o)) for o in range(len(self.graph.operators)))

    def reading_tasks(self, operator: int, producer_microbatch: int) -> range:
        """Return the microbatches in which a consumer reads a tensor of the producer's microbatch.

        A consumer that runs once per step reads the tensors of all microbatches; a tensor that is
        made once per step is read by all microbatches.
        """
        if producer_microbatch == STEP or self.graph.operators[operator].repeat is Repeat.STEP:
            return self.microbatches_of(operator)
        return range(producer_microbatch, producer_microbatch + 1)

    def read_microbatches(self, tensor: int, reader_microbatch: int) -> range:
        """Return the producer's microbatches whose tensor a task reads (all, if once per step)."""
        made = self.microbatches_of(self.graph.producers[tensor])
        if reader_microbatch == STEP or made.start == STEP:
            return made
        return range(reader_microbatch, reader_microbatch + 1)

    # -- alternatives --------------------------------------------------------------------------

    @cached_property
    def alternatives(self) -> tuple[tuple[Alternative, ...], ...]:
        """The alternatives of each operator, before placement rules; shared where equal."""
        found: dict[tuple[Any, ...], tuple[Alternative, ...]] = {}
        result = []
        for operator in self.graph.operators:
            key = tuple(
                (
                    *(mode.devices, mode.groups, tuple(sorted(mode.seconds))),
                    *(mode.engines, mode.ring_steps > 0),  # these too decide where it can run
                )
                for mode in operator.modes
            )
            if key not in found:
                found[key] = tuple(
                    Alternative(m, group)
                    for m in range(len(operator.modes))
                    for group in self._groups(operator.modes[m])
                )
            result.append(found[key])
        return tuple(result)

    def _groups(self, mode: Any) -> list[tuple[int, ...]]:
        cluster = self.cluster
        if mode.groups:
            named = [tuple(cluster.device_index[n] for n in group) for group in mode.groups]
        elif mode.devices == 1:
            named = [(d,) for d in range(len(cluster.devices))]
        else:
            named = [
                tuple(cluster.device_index[n] for n in group)
                for group in cluster.groups
                if len(group) == mode.devices
            ]
        return [
            group
            for group in named
            if all(mode.seconds_on(cluster.devices[d].kind) is not None for d in group)
            and (mode.ring_steps == 0 or self._ring(group) is not None)
            and all(e in cluster.devices[d].engines for e in mode.engines for d in group)
        ]

    def ticks(self, operator: int, alternative: Alternative, microbatch: int) -> int:
        """Return the duration of a task in ticks, rounded up.

        The slowest device of the group decides; a collective takes at least
        ``steps * latency + bytes / bandwidth`` of its ring (FIELD: ring collectives).
        """
        key = (operator, alternative, self.workload.scale(microbatch))
        cache: dict[Any, int] = self._cache
        if key not in cache:
            cache[key] = ticks_up(self.seconds(operator, alternative, microbatch), self.tick_s)
        return cache[key]

    @cached_property
    def _cache(self) -> dict[Any, Any]:
        return {}

    def seconds(self, operator: int, alternative: Alternative, microbatch: int) -> float:
        """Return the duration of a task in seconds, before rounding."""
        mode = self.graph.operators[operator].modes[alternative.mode]
        scale = self.workload.scale(microbatch)
        longest = 0.0
        for d in alternative.devices:
            device = self.cluster.devices[d]
            base = mode.seconds_on(device.kind)
            assert base is not None  # alternatives are made only where the mode has seconds
            factor = max((device.slowdown.get(e, 1.0) for e in mode.engines), default=1.0)
            longest = max(longest, base * factor * scale)
        if mode.ring_steps:
            longest = max(longest, self._ring_seconds(mode, alternative.devices, scale))
        return longest

    def _ring(self, group: tuple[int, ...]) -> list[tuple[str, ...]] | None:
        """Links between ring neighbours; None where two neighbours have no route."""
        found = []
        for a, b in zip(group, group[1:] + group[:1], strict=True):
            route = self.cluster.route(a, b)
            if route is None:
                return None
            found.append(route.links)
        return found

    def _ring_seconds(self, mode: Any, group: tuple[int, ...], scale: float) -> float:
        links = self.cluster.links
        ring = [[links[self.cluster.link_index[n]] for n in hop] for hop in self._ring(group) or []]
        latency = max(sum(k.latency_s for k in hop) for hop in ring)
        bandwidth = min(k.bandwidth for hop in ring for k in hop)
        return float(mode.ring_steps * latency + mode.ring_bytes * scale / bandwidth)

    def collective_links(self, operator: int, alternative: Alternative) -> tuple[int, ...]:
        """Return the links a collective holds while it runs (indices, each once)."""
        if self.graph.operators[operator].modes[alternative.mode].ring_steps == 0:
            return ()
        index = self.cluster.link_index
        hops = self._ring(alternative.devices) or []
        return tuple(dict.fromkeys(index[name] for hop in hops for name in hop))

    # -- transfers -----------------------------------------------------------------------------

    def tensor_bytes(self, tensor: int, producer_mode: int, microbatch: int) -> int | None:
        """Return the bytes a producer writes, scaled and rounded up; None if its mode does not."""
        size = self.graph.writes(self.graph.producers[tensor], producer_mode).get(tensor)
        return None if size is None else math.ceil(size * self.workload.scale(microbatch) - 1e-9)

    def transfer_timing(self, size: int, source: int, target: int) -> TransferTiming | None:
        """Return the times of moving ``size`` bytes between two devices; None without a route."""
        key = ("transfer", size, source, target)
        if key not in self._cache:
            self._cache[key] = self._transfer_timing(size, source, target)
        result: TransferTiming | None = self._cache[key]
        return result

    def _transfer_timing(self, size: int, source: int, target: int) -> TransferTiming | None:
        if (source, target) not in self._ways:
            self._ways[source, target] = self._way(source, target)
        way = self._ways[source, target]
        if way is None:
            return None
        numbers, links, slow, latency, narrowest = way
        if narrowest is not None:
            ticks = ticks_up(size * slow / narrowest, self.tick_s)
            holds = tuple(LinkHold(i, 0, ticks) for i in numbers)
            return TransferTiming(holds, ticks, ticks + latency)
        found, offset = [], 0
        for i, link in zip(numbers, links, strict=True):
            ticks = ticks_up(size * slow / link.bandwidth, self.tick_s)
            found.append(LinkHold(i, offset, ticks))
            offset += ticks
        return TransferTiming(tuple(found), offset, offset + latency)

    def _way(self, source: int, target: int) -> _Way | None:
        """Return what all transfers between two devices have in common; None without a route."""
        route = self.cluster.route(source, target)
        if route is None:
            return None
        numbers = tuple(self.cluster.link_index[name] for name in route.links)
        links = tuple(self.cluster.links[i] for i in numbers)
        slow = self.transfer_slowdown(source, target)
        latency = ticks_up(sum(k.latency_s for k in links), self.tick_s)
        narrowest = min((k.bandwidth for k in links), default=math.inf)
        return _Way(numbers, links, slow, latency, None if route.store_and_forward else narrowest)

    @cached_property
    def _ways(self) -> dict[tuple[int, int], _Way | None]:
        return {}

    def transfer_slowdown(self, source: int, target: int) -> float:
        """Return the factor on a transfer's time, from the engines it holds at both ends."""
        factor = 1.0
        for device, engine in zip((source, target), self.cluster.transfer_engines, strict=True):
            if engine is not None:
                factor = max(factor, self.cluster.devices[device].slowdown.get(engine, 1.0))
        return factor

    def release(self, microbatch: int) -> int:
        """Return the tick before which no task of a microbatch may start."""
        releases = self.workload.releases_s
        if not releases or microbatch == STEP:
            return 0
        return ticks_up(releases[microbatch], self.tick_s)
