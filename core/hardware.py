"""The cluster to plan for: unequal devices, their engines, links and routes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import cast

import networkx as nx
from attrs import field, frozen

from parplan.errors import InputError

ENGINES = ("compute", "send", "receive", "collective", "host-copy")


def _positive(what: str, value: float) -> None:
    if not math.isfinite(value) or value <= 0:
        raise InputError(f"{what} is {value}; it must be finite and above zero")


def _not_negative(what: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{what} is {value}; it must be finite and not negative")


@frozen
class Device:
    """One device. All devices of one ``kind`` run a mode in the same time.

    Attributes
    ----------
    memory_bytes
        Capacity; None means that memory is not limited.
    reserve_bytes
        Part of the capacity that plans must leave free (framework, fragmentation).
    peak_flops
        FLOP/s per number format, as published (dense).
    memory_bandwidth
        Bytes per second to and from device memory, as published.
    flops_efficiency, bandwidth_efficiency
        Part of the peak that kernels reach, for analytic costs.
    engines
        Capacity of each engine; a task or transfer holds the engines it names.
    slowdown
        Factor (at least 1) on the duration of whatever holds an engine, because engines that run
        side by side slow each other down; state the measurement in ``source``.
    attributes
        Further figures for plugins, e.g. ``{"watts": 700}``.
    """

    name: str
    kind: str = "device"
    memory_bytes: int | None = None
    reserve_bytes: int = 0
    peak_flops: Mapping[str, float] = field(factory=dict)
    memory_bandwidth: float = 0.0
    flops_efficiency: float = 1.0
    bandwidth_efficiency: float = 1.0
    engines: Mapping[str, int] = field(factory=lambda: dict.fromkeys(ENGINES, 1))
    slowdown: Mapping[str, float] = field(factory=dict)
    attributes: Mapping[str, float] = field(factory=dict)
    source: str = ""

    def __attrs_post_init__(self) -> None:
        subject = f"device '{self.name}'"
        if not self.name:
            raise InputError("a device has no name")
        _not_negative(f"{subject}: reserve_bytes", self.reserve_bytes)
        if self.memory_bytes is not None:
            _positive(f"{subject}: memory_bytes", self.memory_bytes)
            if self.reserve_bytes >= self.memory_bytes:
                raise InputError(f"{subject}: the reserve leaves no memory to use")
        for dtype, peak in self.peak_flops.items():
            _positive(f"{subject}: peak_flops.{dtype}", peak)
        _not_negative(f"{subject}: memory_bandwidth", self.memory_bandwidth)
        for what in ("flops_efficiency", "bandwidth_efficiency"):
            _positive(f"{subject}: {what}", getattr(self, what))
        for engine, capacity in self.engines.items():
            _positive(f"{subject}: engine '{engine}'", capacity)
        for engine, factor in self.slowdown.items():
            if not math.isfinite(factor) or factor < 1:
                raise InputError(f"{subject}: slowdown of '{engine}' is {factor}; at least 1")

    @property
    def usable_bytes(self) -> int | None:
        """Memory that plans may fill; None if not limited."""
        return None if self.memory_bytes is None else self.memory_bytes - self.reserve_bytes


@frozen
class Link:
    """A channel between two points (devices or switches).

    Attributes
    ----------
    source, target
        Its ends. Transfers go from source to target only, unless ``shared``.
    bandwidth
        Bytes per second of each transfer; ``inf`` makes only latency count.
    latency_s
        Added once to each transfer, without occupying the link.
    capacity
        Transfers carried at the same time, each at full bandwidth; None for any number.
    shared
        One channel for both directions (half duplex).
    """

    name: str
    source: str
    target: str
    bandwidth: float
    latency_s: float = 0.0
    capacity: int | None = 1
    shared: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise InputError(f"link '{self.name}': bandwidth is {self.bandwidth}; above zero")
        _not_negative(f"link '{self.name}': latency_s", self.latency_s)
        if self.capacity is not None:
            _positive(f"link '{self.name}': capacity", self.capacity)
        if self.source == self.target:
            raise InputError(f"link '{self.name}' leads from '{self.source}' to itself")


@frozen
class Route:
    """The links that a transfer crosses, in order.

    A transfer holds all links together for ``bytes / smallest bandwidth`` and arrives one sum of
    latencies later. With ``store_and_forward`` each link is held after the one before, without a
    pause, each for its own time.
    """

    source: str
    target: str
    links: tuple[str, ...]
    store_and_forward: bool = False


@frozen
class Cluster:
    """Devices, links and the routes between devices.

    Attributes
    ----------
    switches
        Points that links may end at besides devices.
    routes
        Routes that are given; the others are the paths of fewest links, then least latency.
    groups
        Device groups that gang modes may use, by device name.
    transfer_engines
        Engines that a transfer holds at its source and at its target, e.g.
        ``("send", "receive")``, or ``("compute", "compute")`` for blocking communication; at a
        device without that engine (a host), it holds none.
    fifo
        Whether transfers from one device to another arrive in the order of their producers' ends
        (true for torch point-to-point).
    """

    name: str
    devices: tuple[Device, ...]
    links: tuple[Link, ...] = ()
    switches: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    transfer_engines: tuple[str | None, str | None] = (None, None)
    fifo: bool = False

    def __attrs_post_init__(self) -> None:
        points = [d.name for d in self.devices] + list(self.switches)
        for what, names in (
            ("devices or switches", points),
            ("links", [k.name for k in self.links]),
        ):
            duplicate = next((name for i, name in enumerate(names) if name in names[:i]), None)
            if duplicate is not None:
                raise InputError(f"cluster '{self.name}': two {what} are named '{duplicate}'")
        if not self.devices:
            raise InputError(f"cluster '{self.name}' has no devices")
        known = set(points)
        for link in self.links:
            for end in (link.source, link.target):
                if end not in known:
                    raise InputError(f"link '{link.name}' ends at unknown device or switch '{end}'")
        for route in self.routes:
            self._check_route(route)
        for group in self.groups:
            for name in group:
                if name not in self.device_index:
                    raise InputError(f"group {list(group)} names unknown device '{name}'")
        for engine in filter(None, self.transfer_engines):
            if not any(engine in device.engines for device in self.devices):
                raise InputError(f"there is no engine '{engine}' for transfers on any device")

    def _check_route(self, route: Route) -> None:
        subject = f"route from '{route.source}' to '{route.target}'"
        for end in (route.source, route.target):
            if end not in self.device_index:
                raise InputError(f"{subject} ends at unknown device '{end}'")
        here = route.source
        for name in route.links:
            if name not in self.link_index:
                raise InputError(f"{subject} crosses unknown link '{name}'")
            link = self.links[self.link_index[name]]
            if here == link.source:
                here = link.target
            elif here == link.target and link.shared:
                here = link.source
            else:
                raise InputError(f"{subject}: link '{name}' does not start at '{here}'")
        if here != route.target:
            raise InputError(f"{subject} ends at '{here}' instead")

    @cached_property
    def device_index(self) -> dict[str, int]:
        """Position of each device by name."""
        return {device.name: i for i, device in enumerate(self.devices)}

    @cached_property
    def link_index(self) -> dict[str, int]:
        """Position of each link by name."""
        return {link.name: i for i, link in enumerate(self.links)}

    @cached_property
    def _routes(self) -> dict[tuple[int, int], Route]:
        """Route of every connected pair; all-pairs search, O(devices * links log links)."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from([d.name for d in self.devices])
        for link in self.links:
            ends = [(link.source, link.target)]
            if link.shared:
                ends.append((link.target, link.source))
            for a, b in ends:
                # Fewest links first, then latency, then bandwidth.
                weight = 1.0 + min(link.latency_s, 0.1) + 1e-3 / (1.0 + link.bandwidth)
                if not graph.has_edge(a, b) or weight < graph[a][b]["weight"]:
                    graph.add_edge(a, b, weight=weight, link=link.name)
        # A device is an end, never a stop on the way: leave no path through one.
        names = set(self.device_index)
        found: dict[tuple[int, int], Route] = {}
        for source in self.device_index:
            inner = graph.subgraph([n for n in graph if n not in names or n == source])
            # The stub also covers calls with a target, which return a number and a list.
            lengths, paths = cast(
                tuple[dict[str, float], dict[str, list[str]]],
                nx.single_source_dijkstra(inner, source, weight="weight"),
            )
            for target in self.device_index:
                if target == source:
                    continue
                best: tuple[float, list[str]] | None = None
                for before in graph.predecessors(target):
                    if before in paths:
                        cost = lengths[before] + graph[before][target]["weight"]
                        if best is None or cost < best[0]:
                            best = (cost, [*paths[before], target])
                if best is not None:
                    hops = zip(best[1], best[1][1:], strict=False)
                    links = tuple(graph[a][b]["link"] for a, b in hops)
                    key = (self.device_index[source], self.device_index[target])
                    found[key] = Route(source, target, links)
        for route in self.routes:
            found[self.device_index[route.source], self.device_index[route.target]] = route
        return found

    def route(self, source: int, target: int) -> Route | None:
        """Return the route between two devices by index; None if they are not connected."""
        return self._routes.get((source, target))
