"""The cluster section of a spec, and the cluster that it describes.

Nodes and switches are shorthand for links. ``intra`` joins the devices of a node through a switch:
each device has a link up to the switch and one down from it, each with the stated bandwidth and
half the stated latency. ``inter`` joins the nodes through a fabric in the same way, with one NIC
per device, or with ``nics_per_node`` NICs that the node's devices share in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import field, frozen

from parplan.errors import InputError
from parplan.hardware import Cluster, Device, Link, Route
from parplan.spec.presets import device_preset, link_preset
from parplan.spec.structuring import did_you_mean

FABRIC = "fabric"

COUNT_LIMIT = 4096
"""Devices of one entry; every pair within a node has a route."""


@frozen
class DeviceSpec:
    """One device, or ``count`` equal ones; what is not given is as in the preset.

    Attributes
    ----------
    name
        With ``{}`` in it, the number of the device within the group, from 0.
    node
        The node that the devices stand in, for ``intra`` and ``inter``.
    """

    name: str
    preset: str = ""
    count: int = 1
    node: str = ""
    kind: str | None = None
    memory_bytes: int | None = None
    reserve_bytes: int | None = None
    peak_flops: Mapping[str, float] | None = None
    memory_bandwidth: float | None = None
    flops_efficiency: float | None = None
    bandwidth_efficiency: float | None = None
    engines: Mapping[str, int] | None = None
    slowdown: Mapping[str, float] | None = None
    attributes: Mapping[str, float] | None = None
    source: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"device '{self.name}': count is {self.count}; at least 1")
        if self.count > COUNT_LIMIT:
            raise InputError(f"device '{self.name}': count is {self.count}; at most {COUNT_LIMIT}")
        if self.count > 1 and "{}" not in self.name:
            raise InputError(
                f"{self.count} devices cannot all be named '{self.name}'; "
                f"write '{self.name}{{}}' to number them"
            )

    def build(self, key: str, reserve_bytes: int) -> list[Device]:
        """Return the devices; InputError if a value or the preset cannot be used."""
        shared = _given(self, ("name", "preset", "count", "node"))
        shared.setdefault("reserve_bytes", reserve_bytes)
        try:
            if self.preset:
                base = attrs.evolve(device_preset(self.preset), **shared)
            else:
                base = Device(name=self.name, **shared)
            names = [self.name.replace("{}", str(i)) for i in range(self.count)]
            return [attrs.evolve(base, name=name) for name in names]
        except InputError as error:
            raise error.located(key=key) from None


@frozen
class ChannelSpec:
    """How fast a connection is, by preset or by figures.

    Attributes
    ----------
    nics_per_node
        Only for ``inter``: NICs that the devices of a node share; None gives each device its own.
    """

    preset: str = ""
    bandwidth: float | None = None
    latency_s: float | None = None
    capacity: int | None = None
    nics_per_node: int | None = None

    def link(self, name: str, source: str, target: str, share: float, key: str) -> Link:
        """Return a link that carries ``share`` of the latency."""
        link = _link(self, name, source, target, key)
        return attrs.evolve(link, latency_s=link.latency_s * share)


@frozen
class LinkSpec:
    """One link between two devices or switches, by preset or by figures.

    Attributes
    ----------
    two_way
        Make a second link for the other direction, named ``target-source``.
    shared
        One channel for both directions instead (half duplex).
    """

    source: str
    target: str
    name: str = ""
    preset: str = ""
    bandwidth: float | None = None
    latency_s: float | None = None
    capacity: int | None = None
    shared: bool = False
    two_way: bool = False

    def build(self, key: str) -> list[Link]:
        """Return the link, or both."""
        forth = _link(self, self.name or f"{self.source}-{self.target}", *self._ends, key)
        forth = attrs.evolve(forth, shared=self.shared)
        if not self.two_way:
            return [forth]
        if self.shared:
            raise InputError("a shared link goes both ways already; drop 'two_way'", key=key)
        name = f"{self.name}.back" if self.name else f"{self.target}-{self.source}"
        return [forth, attrs.evolve(forth, name=name, source=self.target, target=self.source)]

    @property
    def _ends(self) -> tuple[str, str]:
        return self.source, self.target


@frozen
class NodeSpec:
    """What differs in one node from the cluster's ``intra`` and ``inter``."""

    intra: ChannelSpec | None = None
    inter: ChannelSpec | None = None


@frozen
class ClusterSpec:
    """The cluster section of a spec.

    Attributes
    ----------
    intra, inter
        Connections within a node and between nodes, for all nodes.
    nodes
        By the name of a node, what differs there.
    reserve_bytes
        Memory that plans leave free on each device, where the device does not say.
    """

    devices: tuple[DeviceSpec, ...]
    name: str = "cluster"
    intra: ChannelSpec | None = None
    inter: ChannelSpec | None = None
    nodes: Mapping[str, NodeSpec] = field(factory=dict)
    links: tuple[LinkSpec, ...] = ()
    switches: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    transfer_engines: tuple[str | None, str | None] = (None, None)
    fifo: bool = False
    reserve_bytes: int = 0


@frozen
class _Part:
    """Links, switches and routes that some of a cluster's shorthand stands for."""

    links: tuple[Link, ...] = ()
    switches: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()


def build_cluster(spec: ClusterSpec) -> Cluster:
    """Return the cluster that a spec describes.

    Raises
    ------
    InputError
        With the key at fault: an unknown preset, device, node or link end, a name given twice.
    """
    if not spec.devices:
        raise InputError("names no device; a plan needs at least one", key="cluster.devices")
    devices: list[Device] = []
    nodes: dict[str, list[str]] = {}
    for position, entry in enumerate(spec.devices):
        key = f"cluster.devices[{position}]"
        made = entry.build(key, spec.reserve_bytes)
        known = {device.name for device in devices}
        if twice := next((device.name for device in made if device.name in known), None):
            raise InputError(f"two devices are named '{twice}'; rename one of them", key=key)
        devices += made
        if entry.node:
            nodes.setdefault(entry.node, []).extend(device.name for device in made)
    for name in spec.nodes:
        if name not in nodes:
            raise InputError(
                f"no device stands in node '{name}'; {did_you_mean(name, nodes)}",
                key=f"cluster.nodes.{name}",
            )
    parts = list(_topology(spec, nodes))
    explicit = [
        link for i, entry in enumerate(spec.links) for link in entry.build(f"cluster.links[{i}]")
    ]
    _check_ends(spec, [d.name for d in devices], [s for part in parts for s in part.switches])
    try:
        return Cluster(
            name=spec.name,
            devices=tuple(devices),
            links=(*(link for part in parts for link in part.links), *explicit),
            switches=(*(name for part in parts for name in part.switches), *spec.switches),
            routes=(*(route for part in parts for route in part.routes), *spec.routes),
            groups=spec.groups,
            transfer_engines=spec.transfer_engines,
            fifo=spec.fifo,
        )
    except InputError as error:
        raise error.located(key="cluster") from None


def _check_ends(spec: ClusterSpec, devices: list[str], switches: list[str]) -> None:
    """Raise InputError, with its key, for a name of a device or switch that is not there."""
    points = [*devices, *spec.switches, *switches]
    named: list[tuple[str, str, list[str]]] = []
    for i, link in enumerate(spec.links):
        named += [(f"links[{i}].source", link.source, points)]
        named += [(f"links[{i}].target", link.target, points)]
    for i, route in enumerate(spec.routes):
        named += [(f"routes[{i}].source", route.source, devices)]
        named += [(f"routes[{i}].target", route.target, devices)]
    for i, group in enumerate(spec.groups):
        named += [(f"groups[{i}][{j}]", name, devices) for j, name in enumerate(group)]
    for key, name, known in named:
        if name not in known:
            what = "device" if known is devices else "device or switch"
            raise InputError(
                f"no {what} is named '{name}'; {did_you_mean(name, known)}", key=f"cluster.{key}"
            )


def _topology(spec: ClusterSpec, nodes: Mapping[str, list[str]]) -> Iterator[_Part]:
    """Yield what ``intra`` and ``inter`` stand for."""
    joined = False
    for node, members in nodes.items():
        own = spec.nodes.get(node, NodeSpec())
        intra, inter = own.intra or spec.intra, own.inter or spec.inter
        if intra is not None and len(members) > 1:
            yield _star(node, members, intra, f"cluster.{_place(own.intra, node)}intra")
        if inter is not None and len(nodes) > 1:
            joined = True
            yield _uplinks(node, members, inter, f"cluster.{_place(own.inter, node)}inter")
    if joined:
        yield _Part(switches=(FABRIC,))


def _place(own: ChannelSpec | None, node: str) -> str:
    return "" if own is None else f"nodes.{node}."


def _star(node: str, members: list[str], channel: ChannelSpec, key: str) -> _Part:
    """Join the devices of a node through its switch.

    The routes are given, because a NIC of each device at the fabric is as near as the switch.
    """
    if channel.nics_per_node is not None:
        raise InputError("belongs to 'inter'", key=f"{key}.nics_per_node")
    switch = f"{node}.switch"
    links = []
    for name in members:
        links.append(channel.link(f"{name}.up", name, switch, 0.5, key))
        links.append(channel.link(f"{name}.down", switch, name, 0.5, key))
    routes = tuple(
        Route(a, b, (f"{a}.up", f"{b}.down")) for a in members for b in members if a != b
    )
    return _Part(tuple(links), (switch,), routes)


def _uplinks(node: str, members: list[str], channel: ChannelSpec, key: str) -> _Part:
    """Join a node to the fabric, with a NIC per device or with shared ones."""
    if channel.nics_per_node is None:
        links = []
        for name in members:
            links.append(channel.link(f"{name}.nic.up", name, FABRIC, 0.5, key))
            links.append(channel.link(f"{name}.nic.down", FABRIC, name, 0.5, key))
        return _Part(tuple(links))
    count = channel.nics_per_node
    if not 1 <= count <= len(members):
        raise InputError(
            f"node '{node}' has {len(members)} devices, so 1 to {len(members)} NICs can be shared",
            key=f"{key}.nics_per_node",
        )
    links, switches = [], []
    for i in range(count):
        nic = f"{node}.nic{i}"
        switches += [f"{nic}.out", f"{nic}.in"]
        links.append(channel.link(f"{nic}.up", f"{nic}.out", FABRIC, 0.5, key))
        links.append(channel.link(f"{nic}.down", FABRIC, f"{nic}.in", 0.5, key))
    for position, name in enumerate(members):
        nic = f"{node}.nic{position * count // len(members)}"
        # The way to the NIC is counted with the NIC: never full, and without latency.
        links.append(Link(f"{name}.to.nic", name, f"{nic}.out", float("inf"), capacity=None))
        links.append(Link(f"{name}.from.nic", f"{nic}.in", name, float("inf"), capacity=None))
    return _Part(tuple(links), tuple(switches))


def _link(spec: ChannelSpec | LinkSpec, name: str, source: str, target: str, key: str) -> Link:
    """Return a link by preset, by figures, or by a preset with figures of its own."""
    figures = {
        what: getattr(spec, what)
        for what in ("bandwidth", "latency_s", "capacity")
        if getattr(spec, what) is not None
    }
    try:
        if spec.preset:
            base = link_preset(spec.preset)
            return attrs.evolve(base, name=name, source=source, target=target, **figures)
        if spec.bandwidth is None:
            raise InputError("needs a 'preset' or a 'bandwidth', e.g. '50 GB/s'")
        return Link(name, source, target, **figures)
    except InputError as error:
        raise error.located(key=key) from None


def _given(spec: DeviceSpec, without: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that a spec gives, by name."""
    return {
        f.name: value
        for f in attrs.fields(type(spec))
        if f.name not in without and (value := getattr(spec, f.name)) is not None
    }
