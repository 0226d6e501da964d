"""Workloads of Piper (Tarnawski, Narayanan, Phanishayee, NeurIPS 2021) as problems.

Every layer of a model can run with some degrees of tensor parallelism t, and there with or without
recomputation. A plan cuts the layers into contiguous stages. A stage has t x d devices: d replicas,
between which samples (microbatches) are divided, of t devices each. With N samples in a batch and B
bytes per second between devices (section 3 of the paper, and the formats of its code), its time per
sample is

    sum over its layers of [p + 2 c / B] / d + 4 (d - 1) w / (d N B),

p the seconds forward and backward (``timePerSample``), w the bytes of weights (``parameterSize``,
with the traffic of a distributed parameter server), and c the bytes of all edges to or from other
stages (``communicationCost``), with what the degree t adds to them on this side: ``syncTimeFw`` for
an edge from a layer before, ``syncTimeBw`` for one to a layer behind; all are bytes, and twice, for
activations and their gradients. d divides N. A device of a stage needs y a + b bytes for each layer
(``memoryUsageA``, ``memoryUsageB``), y = ceil(s / d) samples under way, s the sum of d over this
stage and those behind it. The time per sample of a pipeline is that of its slowest stage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import DEFAULT_CONSTRAINTS, Problem, Rule
from parplan.workload import Workload

ENGINES = {"compute": 1}

TICK_S = 1e-12


@frozen
class Choice:
    """A way to run a layer with some tensor parallelism; names as in the module's formula."""

    name: str
    p: float
    w: float
    a: float
    b: float


@frozen
class Degrees:
    """Of a stage: tensor parallelism t, data parallelism d."""

    t: int
    d: int

    @property
    def devices(self) -> int:
        """Devices of the stage."""
        return self.t * self.d


@frozen(eq=False)
class Layers:
    """A workload, its layers in a topological order.

    Attributes
    ----------
    choices
        Of each layer by degree of tensor parallelism.
    edges
        (layer before, layer behind, bytes).
    before, behind
        What a degree adds to the bytes of an edge on the side of the layer behind it, and of the
        layer before it: ``[edge][t]``.
    """

    name: str
    devices: int
    memory: float
    bandwidth: float
    samples: int
    choices: tuple[Mapping[int, tuple[Choice, ...]], ...]
    edges: tuple[tuple[int, int, float], ...]
    behind: tuple[Mapping[int, float], ...]
    before: tuple[Mapping[int, float], ...]

    @cached_property
    def degrees(self) -> tuple[Degrees, ...]:
        """The degrees that every layer has and that fit devices and samples."""
        tensor = set.intersection(*(set(one) for one in self.choices))
        return tuple(
            Degrees(t, d)
            for t in sorted(tensor)
            for d in range(1, self.devices // t + 1)
            if self.samples % d == 0
        )

    def seconds(self, choice: Choice, degrees: Degrees) -> float:
        """Return the part of a layer in a stage's time per sample, without its edges."""
        d = degrees.d
        resync = 4 * (d - 1) * choice.w / (d * self.samples * self.bandwidth)
        return choice.p / d + resync

    def sent(self, edge: int, degrees: Degrees) -> float:
        """Return the seconds per sample that an edge to another stage costs the one before it."""
        bytes_ = self.edges[edge][2] + self.before[edge][degrees.t]
        return 2 * bytes_ / degrees.d / self.bandwidth

    def received(self, edge: int, degrees: Degrees) -> float:
        """Return the seconds per sample that an edge from another stage costs the one behind it."""
        bytes_ = self.edges[edge][2] + self.behind[edge][degrees.t]
        return 2 * bytes_ / degrees.d / self.bandwidth


def read_layers(path: Path) -> Layers:
    """Return the workload of a file.

    Raises
    ------
    InputError
        If choices of a layer differ in what they add to edges: no published workload has that.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in data["nodes"]}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(sorted(nodes))
    graph.add_edges_from((edge["sourceId"], edge["destId"]) for edge in data["edges"])
    order = list(nx.lexicographical_topological_sort(graph))
    place = {node: i for i, node in enumerate(order)}
    edges = [(e["sourceId"], e["destId"], e["communicationCost"]) for e in data["edges"]]
    return Layers(
        path.stem,
        data["maxDevices"],
        data["maxMemoryPerDevice"],
        data["bandwidth"],
        data["mbsInBatch"],
        tuple(_choices(nodes[node]) for node in order),
        tuple((place[u], place[v], c) for u, v, c in edges),
        tuple(_added(nodes[v], "syncTimeFw", u) for u, v, _ in edges),
        tuple(_added(nodes[u], "syncTimeBw", v) for u, v, _ in edges),
    )


def _choices(node: Mapping[str, Any]) -> Mapping[int, tuple[Choice, ...]]:
    return {
        int(t): tuple(
            Choice(
                row["id"],
                row["timePerSample"],
                row["parameterSize"],
                row["memoryUsageA"],
                row["memoryUsageB"],
            )
            for row in rows
        )
        for t, rows in node["TMPCs"].items()
    }


def _added(node: Mapping[str, Any], key: str, other: int) -> Mapping[int, float]:
    """Return what each degree of a layer adds to its edge to another layer."""
    found = {}
    for t, rows in node["TMPCs"].items():
        values = {row[key][str(other)] for row in rows}
        if len(values) != 1:
            raise InputError(f"layer {node['id']}: choices of degree {t} differ in {key}")
        found[int(t)] = values.pop()
    return found


def problem_of(layers: Layers) -> Problem:
    """Return a workload as a problem whose objective is the time per sample.

    Its rule ``stage-degrees`` is that of the plugin ``benchmarks.piper_rule``.

    An operator is a layer; a mode is its degrees and choice on a group of neighbouring devices,
    which keeps room for as many samples as there can be under way, ceil(devices / d). Where stages
    meet, devices compute or exchange tensors, so a stage's time is the sum of both.
    """
    names = [f"d{i}" for i in range(layers.devices)]
    runs = {n: _runs(names, n) for n in range(1, layers.devices + 1)}
    operators = tuple(
        Operator(
            f"layer.{i}",
            Kind.OTHER,
            parameters=(f"layer.{i}",),
            module=f"layer.{i}",
            modes=tuple(
                _mode(layers, i, degrees, choice, runs)
                for degrees in layers.degrees
                for choice in layers.choices[i][degrees.t]
            ),
        )
        for i in range(len(layers.choices))
    )
    tensors = tuple(
        Tensor(f"edge.{e}", f"layer.{u}", (f"layer.{v}",), math.ceil(2 * size))
        for e, (u, v, size) in enumerate(layers.edges)
    )
    groups = tuple(ParameterGroup(operator.name) for operator in operators)
    memory = int(layers.memory)
    return Problem(
        layers.name,
        Graph(layers.name, operators, tensors, groups),
        Cluster(
            "piper",
            tuple(Device(name, memory_bytes=memory, engines=ENGINES) for name in names),
            tuple(Link(f"{a}>{b}", a, b, layers.bandwidth) for a in names for b in names if a != b),
            transfer_engines=("compute", "compute"),
        ),
        Workload(),
        (
            *DEFAULT_CONSTRAINTS,
            Rule("placement", {"contiguous": True}),
            Rule("stage-degrees"),
        ),
        objectives=(Rule("steady-state"),),
        tick_s=TICK_S,
    )


def _runs(names: Sequence[str], length: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[i : i + length]) for i in range(len(names) - length + 1))


def _mode(
    layers: Layers,
    layer: int,
    degrees: Degrees,
    choice: Choice,
    runs: Mapping[int, tuple[tuple[str, ...], ...]],
) -> Mode:
    under_way = math.ceil(layers.devices / degrees.d)
    writes = {
        f"edge.{e}": math.ceil(2 * (size + layers.before[e][degrees.t]) / degrees.d)
        for e, (u, _, size) in enumerate(layers.edges)
        if u == layer
    }
    return Mode(
        f"t{degrees.t} d{degrees.d} {choice.name}",
        devices=degrees.devices,
        groups=runs[degrees.devices],
        seconds={"*": layers.seconds(choice, degrees)},
        writes=writes,
        parameter_bytes={f"layer.{layer}": math.ceil(choice.a * under_way + choice.b)},
        source="profile of Piper",
    )
