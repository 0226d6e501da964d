"""Reads workloads of dnn-partitioning (NeurIPS 2020) as problems of parplan.

Times there are milliseconds. A tensor goes from the memory of an accelerator to that of the host,
which costs its producer's device once, and from there to each device that reads it, which costs
that device; a CPU works in host memory, and pays nothing. So transfers hold the compute engine at
both ends, which CPUs do without: theirs is called ``cores``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link, Route
from parplan.problem import Problem, Rule
from parplan.workload import Workload

TICK_S = 1e-10
"""Short beside the shortest operators of 6e-8 ms, so that rounding adds less than a millionth."""

BANDWIDTH = 1e9
"""Bytes per second of every accelerator: a tensor that takes 1 ms has a million bytes."""

MS = 1e-3


def read_workload(
    path: Path, objective: Rule, *, contiguous: bool = False, in_turn: bool = False
) -> Problem:
    """Return the problem that a file of ``throughput-inputs`` or ``latency-inputs`` states.

    Parameters
    ----------
    contiguous
        Each device runs what lies between two cuts, of the forward pass and of the backward pass.
    in_turn
        A tensor is written to host memory first, and read from there then, which takes both times:
        so it is where times count, and not loads. Both devices are held throughout, which is
        longer than need be, and a tensor is written for each reader: no time is too short.
    """
    given = json.loads(path.read_text(encoding="utf-8"))
    name = path.stem
    return Problem(
        name,
        _graph(name, given),
        _cluster(name, given, in_turn=in_turn),
        Workload(),
        (
            Rule("devices"),
            Rule("memory", {"weights_only": True}),
            Rule("placement", {**_placement(given), "contiguous": contiguous}),
        ),
        (objective,),
        tick_s=TICK_S,
    )


def _graph(name: str, given: Mapping[str, Any]) -> Graph:
    operators, parameters = [], []
    for node in given["nodes"]:
        modes = [
            Mode("cpu", seconds={"cpu": node["cpuLatency"] * MS}, engines=("cores",)),
        ]
        if node["supportedOnFpga"]:
            seconds = {"accelerator": node["fpgaLatency"] * MS}
            modes.append(Mode("accelerator", seconds=seconds))
        kept = (ParameterGroup(f"size {node['id']}", weight_bytes=math.ceil(node["size"])),)
        operators.append(
            Operator(
                operator_name(node["id"]),
                kind=Kind.BACKWARD if node["isBackwardNode"] else Kind.FORWARD,
                parameters=tuple(group.name for group in kept),
                modes=tuple(modes),
            )
        )
        parameters += kept
    readers: dict[int, list[str]] = {}
    cost: dict[int, float] = {}
    for edge in given["edges"]:
        readers.setdefault(edge["sourceId"], []).append(operator_name(edge["destId"]))
        cost[edge["sourceId"]] = max(cost.get(edge["sourceId"], 0.0), edge["cost"])
    tensors = [
        Tensor(
            f"from {source}",
            operator_name(source),
            tuple(dict.fromkeys(names)),
            round(cost[source] * MS * BANDWIDTH),
        )
        for source, names in readers.items()
    ]
    return Graph(name, tuple(operators), tuple(tensors), tuple(parameters))


def operator_name(node: int) -> str:
    """Return the operator of a node's number."""
    return f"node {node}"


def _cluster(name: str, given: Mapping[str, Any], *, in_turn: bool) -> Cluster:
    accelerators = [
        Device(f"accelerator{i}", kind="accelerator", memory_bytes=int(given["maxSizePerFPGA"]))
        for i in range(given["maxFPGAs"])
    ]
    hosts = [Device(f"cpu{i}", kind="cpu", engines={"cores": 1}) for i in range(given["maxCPUs"])]
    speed = {"accelerator": BANDWIDTH, "cpu": math.inf}
    links = [
        Link(f"{d.name}-host", d.name, "host memory", speed[d.kind], capacity=None, shared=True)
        for d in (*accelerators, *hosts)
    ]
    routes = [
        Route(a.name, b.name, (f"{a.name}-host", f"{b.name}-host"), store_and_forward=True)
        for a, b in permutations((*accelerators, *hosts), 2)
    ]
    return Cluster(
        name,
        (*accelerators, *hosts),
        tuple(links),
        ("host memory",),
        tuple(routes) if in_turn else (),
        transfer_engines=("compute", "compute"),
    )


def _placement(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return which operators share a device: those of one colour."""
    classes: dict[int, list[str]] = {}
    for node in given["nodes"]:
        if node.get("colorClass") is not None:
            classes.setdefault(node["colorClass"], []).append(operator_name(node["id"]))
    together: Sequence[Sequence[str]] = [names for names in classes.values() if len(names) > 1]
    return {"together": tuple(map(tuple, together))}
