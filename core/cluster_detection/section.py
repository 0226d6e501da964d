"""From what was found out about a cluster to the section of a spec that says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from parplan.cluster_detection.bandwidths import GroupBandwidth, PairBandwidth
from parplan.cluster_detection.gpus import Gpu
from parplan.cluster_detection.hosts import Host
from parplan.cluster_detection.topology import Topology, nvlinks
from parplan.errors import InputError
from parplan.spec.cluster import ClusterSpec, build_cluster
from parplan.spec.presets import device_preset, device_reported_as, link_preset
from parplan.spec.structuring import structure

NVLINKS: Mapping[str, tuple[str, int]] = {
    "v100": ("nvlink2", 6),
    "a100-40gb": ("nvlink3", 12),
    "a100-80gb": ("nvlink3", 12),
    "h100": ("nvlink4", 18),
    "h200": ("nvlink4", 18),
    "b200": ("nvlink5", 18),
}
"""Preset of all NVLinks of a kind of device together, and how many they are (datasheets)."""

_GIGABYTE = 1e9


@frozen
class Findings:
    """What tools said, and what the user said.

    Attributes
    ----------
    topology, gpus
        Of one node; all hosts are taken to be like it.
    gpu, intra, inter, pcie
        Presets named by the user: of the devices, of what joins those of a node, of what joins
        nodes, and of PCIe. Empty where nothing was said.
    """

    topology: Topology | None = None
    gpus: tuple[Gpu, ...] = ()
    hosts: tuple[Host, ...] = ()
    pairs: tuple[PairBandwidth, ...] = ()
    group: GroupBandwidth | None = None
    gpu: str = ""
    intra: str = ""
    inter: str = ""
    pcie: str = ""


@frozen
class Detected:
    """A cluster section as plain data, and what the user should know of it."""

    section: Mapping[str, Any]
    notes: tuple[str, ...]


@frozen
class _Node:
    """A node and its devices: number on the node, and reported name (or empty) of each."""

    name: str
    devices: tuple[tuple[int, str], ...]


def cluster_section(found: Findings) -> Detected:
    """Return the cluster section that describes what was found; a plan's spec takes it as it is.

    Raises
    ------
    InputError
        Naming what is not known and how to say it.
    """
    notes: list[str] = []
    nodes = _nodes(found)
    devices = [entry for node in nodes for entry in _devices(found, node, len(nodes), notes)]
    section: dict[str, Any] = {"devices": devices}
    if found.pairs:
        section["links"] = [_pair_link(pair, found, notes) for pair in found.pairs]
        if any(pair.latency_s is None for pair in found.pairs):
            notes.append("latencies were not measured: they count as zero")
    else:
        section |= _joins(found, nodes, notes)
    build_cluster(structure(section, ClusterSpec, key="cluster"))
    return Detected(section, tuple(dict.fromkeys(notes)))


def _nodes(found: Findings) -> list[_Node]:
    """Return the nodes with their devices, from the first source that knows them."""
    if found.pairs:
        names = dict.fromkeys(name for pair in found.pairs for name in (pair.source, pair.target))
        return [_Node(name, ((0, ""),)) for name in names]
    if found.topology is not None or found.gpus:
        names_of = {gpu.index: gpu.name for gpu in found.gpus}
        numbers = tuple(names_of) if found.topology is None else found.topology.gpus
        if names_of and set(numbers) != set(names_of):
            raise InputError(
                f"the topology has GPUs {list(numbers)}, the list of GPUs {sorted(names_of)}: give "
                "both of one node"
            )
        devices = tuple((number, names_of.get(number, "")) for number in numbers)
        hosts = found.hosts or (Host("node"),)
        odd = next((h for h in hosts if h.slots not in (None, len(devices))), None)
        if odd is not None:
            raise InputError(
                f"host '{odd.name}' has {odd.slots} slots, but the node that was looked at "
                f"{len(devices)} GPUs: detect unequal nodes one by one"
            )
        return [_Node(host.name, devices) for host in hosts]
    if found.group is not None:
        ranks = found.group.ranks
        return [
            _Node(host, tuple((number, gpu) for at, number, gpu in ranks if at == host))
            for host in found.group.hosts
        ]
    if not found.hosts:
        raise InputError(
            "nothing says which devices there are: give --topology, --gpus, --hosts, "
            "--bandwidths or --costs"
        )
    unknown = next((host for host in found.hosts if host.slots is None), None)
    if unknown is not None:
        raise InputError(
            f"how many devices host '{unknown.name}' has is not known: write "
            f"'{unknown.name} slots=N', or give --topology or --gpus of one node"
        )
    return [
        _Node(host.name, tuple((number, "") for number in range(host.slots or 0)))
        for host in found.hosts
    ]


def _devices(
    found: Findings, node: _Node, nodes: int, notes: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a node's devices, equal ones in a row as one."""
    if found.pairs:
        yield {"name": node.name, **_kind(found, "", notes)}
        return
    prefix = f"{node.name}.gpu" if nodes > 1 else "gpu"
    numbers = [number for number, _ in node.devices]
    kinds = {name for _, name in node.devices}
    if len(kinds) == 1 and numbers == list(range(len(numbers))) and len(numbers) > 1:
        kind = _kind(found, next(iter(kinds)), notes)
        yield {"name": f"{prefix}{{}}", "count": len(numbers), "node": node.name, **kind}
        return
    for number, name in node.devices:
        yield {"name": f"{prefix}{number}", "node": node.name, **_kind(found, name, notes)}


def _kind(found: Findings, name: str, notes: list[str]) -> dict[str, Any]:
    """Return what an entry says of a device with a reported name."""
    if found.gpu:
        device_preset(found.gpu)
        return {"preset": found.gpu}
    if not name:
        raise InputError("which devices there are is not known: name their preset with --gpu")
    preset = device_reported_as(name)
    if preset:
        return {"preset": preset}
    notes.append(
        f"no preset is known for '{name}': name one with --gpu, or add peak_flops and "
        "memory_bandwidth to its entry"
    )
    kind: dict[str, Any] = {"kind": "-".join(name.lower().split())}
    memory = next((gpu.memory_bytes for gpu in found.gpus if gpu.name == name), None)
    if memory is not None:
        kind["memory_bytes"] = memory
    return kind


def _pair_link(pair: PairBandwidth, found: Findings, notes: list[str]) -> dict[str, Any]:
    link: dict[str, Any] = {"source": pair.source, "target": pair.target}
    if pair.bandwidth is None:
        return {**link, "preset": _untold(pair, found, notes)}
    link["bandwidth"] = _bandwidth_text(pair.bandwidth)
    if pair.latency_s is not None:
        link["latency_s"] = pair.latency_s
    return link


def _untold(pair: PairBandwidth, found: Findings, notes: list[str]) -> str:
    """Return the preset of a link whose messages took time that nobody can divide."""
    if not found.inter:
        raise InputError(
            f"the messages from {pair.source} to {pair.target} do not tell a bandwidth, only how "
            "long they took: record plans whose messages differ in size, or name a preset with "
            "--inter"
        )
    link_preset(found.inter)
    notes.append(f"links whose messages do not tell a bandwidth are taken to be '{found.inter}'")
    return found.inter


def _joins(found: Findings, nodes: Sequence[_Node], notes: list[str]) -> dict[str, Any]:
    """Return what joins the devices of a node, and the nodes."""
    section: dict[str, Any] = {}
    if any(len(node.devices) > 1 for node in nodes):
        section |= _within(found, nodes, notes)
    if len(nodes) > 1:
        section["inter"] = _between(found, notes)
    return section


def _within(found: Findings, nodes: Sequence[_Node], notes: list[str]) -> dict[str, Any]:
    if found.intra:
        return {"intra": {"preset": found.intra}}
    if found.group is not None and len(found.group.hosts) == 1:
        return {"intra": _measured(found.group, notes)}
    topology = found.topology
    if topology is None:
        raise InputError(
            "how the devices of a node are joined is not known: give --topology, --bandwidths of "
            "one node, or the preset of a link with --intra"
        )
    counts = {pair: nvlinks(join) for pair, join in topology.joins.items()}
    if len(set(counts.values())) == 1:
        count = next(iter(counts.values()))
        return {"intra": _nvlink(found, nodes[0], count) if count else _pcie(found, notes)}
    # NVLinks between some: they are links of their own, and all are joined by PCIe.
    pcie = _pcie(found, notes)
    links: list[dict[str, Any]] = []
    switches = []
    for node in nodes:
        prefix = f"{node.name}.gpu" if len(nodes) > 1 else "gpu"
        switch = f"{node.name}.pcie"
        switches.append(switch)
        links += (
            {"source": f"{prefix}{number}", "target": switch, "two_way": True, **pcie}
            for number in topology.gpus
        )
        for (a, b), count in counts.items():
            if count and a < b:
                ends = {"source": f"{prefix}{a}", "target": f"{prefix}{b}", "two_way": True}
                links.append({**ends, **_nvlink(found, node, count)})
    return {"links": links, "switches": switches}


def _nvlink(found: Findings, node: _Node, count: int) -> dict[str, Any]:
    """Return the channel of so many NVLinks, by preset where they are all that a device has."""
    preset = found.gpu or device_reported_as(node.devices[0][1])
    kind = device_preset(preset).kind if preset else ""
    if kind not in NVLINKS:
        raise InputError(
            f"how fast an NVLink of '{kind or node.devices[0][1] or 'these GPUs'}' is, is not "
            "known: name the preset of all together with --intra, or the devices' with --gpu"
        )
    name, all_of_them = NVLINKS[kind]
    if count == all_of_them:
        return {"preset": name}
    bandwidth = link_preset(name).bandwidth * count / all_of_them
    return {"preset": name, "bandwidth": _bandwidth_text(bandwidth)}


def _pcie(found: Findings, notes: list[str]) -> dict[str, Any]:
    notes.append(
        "all ways over PCIe (PIX to SYS) are one switch of full speed: host bridges and sockets "
        "that are narrower are not in the model"
    )
    if found.pcie:
        return {"preset": found.pcie}
    known = {(gpu.pcie_generation, gpu.pcie_lanes) for gpu in found.gpus}
    if len(known) == 1:
        generation, lanes = next(iter(known))
        if generation is not None and lanes == 16:
            name = f"pcie{generation}-x16"
            link_preset(name)
            return {"preset": name}
    raise InputError(
        "devices are joined by PCIe, but not which: name a preset with --pcie, such as pcie4-x16, "
        "or give --gpus with pcie.link.gen.max and pcie.link.width.max"
    )


def _between(found: Findings, notes: list[str]) -> dict[str, Any]:
    channel: dict[str, Any]
    if found.inter:
        channel = {"preset": found.inter}
    elif found.group is not None and len(found.group.hosts) > 1:
        return _measured(found.group, notes)
    else:
        raise InputError(
            "how the nodes are joined is not known: name the preset of a device's network link "
            "with --inter, such as infiniband-ndr, or give --bandwidths among nodes"
        )
    if found.topology is not None and found.topology.nics:
        nics, gpus = len(found.topology.nics), len(found.topology.gpus)
        if nics < gpus:
            channel["nics_per_node"] = nics
        notes.append(
            f"a node has {nics} network cards for {gpus} GPUs; which of them serve storage alone "
            f"is not known, so {'they are shared' if nics < gpus else 'each GPU has its own'}"
        )
    return channel


def _measured(group: GroupBandwidth, notes: list[str]) -> dict[str, Any]:
    notes.append(
        f"bandwidth as measured with messages of {group.message_bytes} bytes; latency was not "
        "measured and counts as zero"
    )
    return {"bandwidth": _bandwidth_text(group.bandwidth)}


def _bandwidth_text(bandwidth: float) -> str:
    return f"{bandwidth / _GIGABYTE:.6g} GB/s"
