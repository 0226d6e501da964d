"""Tiny random graphs on unequal devices, and their partitions counted by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import permutations, product

from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem, Rule
from parplan.workload import Workload

Homes = Mapping[str, str]
"""The device of each operator, by name."""


def tiny_problem(
    seed: int, *, leaves_once: bool = False, contiguous: bool = False, operators: int = 5
) -> Problem:
    """Return a random graph with forward and backward operators on two to three devices.

    Each device has two ways to a hub: both ends of a transfer may hold an engine, and ways may be
    links of capacity 1 or 2. The last device is slower, and has no compute engine for transfers.
    """
    dice = random.Random(seed)
    count = dice.choice((2, 3))
    names = [f"o{i}" for i in range(operators)]
    turn = dice.randint(operators // 2, operators)
    specs, parameters = [], []
    for i, name in enumerate(names):
        kept = (f"w{i}",) if dice.random() < 0.5 else ()
        parameters += [ParameterGroup(group, weight_bytes=dice.randint(1, 3)) for group in kept]
        seconds = dice.randint(0, 6)
        modes = (
            Mode("fast", seconds={"fast": seconds}),
            Mode("slow", seconds={"slow": 3.0 * seconds}, engines=("cores",)),
        )
        kind = Kind.FORWARD if i < turn else Kind.BACKWARD
        specs.append(Operator(name, kind=kind, modes=modes, parameters=kept))
    tensors = []
    for i, name in enumerate(names[:-1]):
        readers = [other for other in names[i + 1 :] if dice.random() < 0.5]
        if readers:
            tensors.append(Tensor(f"t{i}", name, tuple(readers), dice.randint(0, 5)))
    fast = [Device(f"d{i}", kind="fast", memory_bytes=None if i else 100) for i in range(count - 1)]
    slow = Device(f"d{count - 1}", kind="slow", engines={"cores": 1})
    capacity = dice.choice((None, 1, 2))
    links = [
        Link(f"{d.name}.{way}", *(ends), bandwidth=1.0, capacity=capacity)
        for d in (*fast, slow)
        for way, ends in (("up", (d.name, "hub")), ("down", ("hub", d.name)))
    ]
    engines = dice.choice(((None, None), ("compute", "compute"), ("compute", None)))
    together = {"together": [[names[0], names[-1]]]} if dice.random() < 0.3 else {}
    return Problem(
        f"tiny {seed}",
        Graph("tiny", tuple(specs), tuple(tensors), tuple(parameters)),
        Cluster("hub", (*fast, slow), tuple(links), ("hub",), transfer_engines=engines),
        Workload(microbatches=dice.choice((1, 2))),
        (
            Rule("devices"),
            Rule("links"),
            Rule("memory"),
            Rule("placement", {**together, "contiguous": contiguous}),
        ),
        (Rule("steady-state", {"leaves_once": leaves_once}),),
        tick_s=0.5,
    )


def all_homes(problem: Problem) -> Iterator[Homes]:
    """Yield every way to give each operator a device that keeps what must be together."""
    names = [o.name for o in problem.graph.operators]
    (rule,) = (rule for rule in problem.constraints if rule.name == "placement")
    for chosen in product([d.name for d in problem.cluster.devices], repeat=len(names)):
        homes = dict(zip(names, chosen, strict=True))
        if all(len({homes[n] for n in row}) == 1 for row in rule.options.get("together", ())):
            yield homes


def seconds_per_sample(problem: Problem, homes: Homes) -> float:
    """Return the load of the busiest engine or link by the definition alone.

    Every way of the hub has bandwidth 1, so a transfer takes as many seconds as it has bytes.
    """
    cluster = problem.cluster
    once = problem.objectives[0].options["leaves_once"]
    engines = {d.name: "cores" if "cores" in d.engines else "compute" for d in cluster.devices}
    load = dict.fromkeys(
        ((d.name, e) for d in cluster.devices for e in ("work", "up", "down")), 0.0
    )
    for operator in problem.graph.operators:
        home = homes[operator.name]
        mode = operator.modes[1 if engines[home] == "cores" else 0]
        load[home, "work"] += next(iter(mode.seconds.values()))
    sends, receives = (engine == "compute" for engine in cluster.transfer_engines)
    for tensor in problem.graph.tensors:
        source = homes[tensor.producer]
        targets = {homes[reader] for reader in tensor.consumers} - {source}
        copies = min(len(targets), 1) if once else len(targets)
        load[source, "up"] += copies * tensor.bytes
        if sends and engines[source] == "compute":
            load[source, "work"] += copies * tensor.bytes
        for target in targets:
            load[target, "down"] += tensor.bytes
            if receives and engines[target] == "compute":
                load[target, "work"] += tensor.bytes
    capacity = cluster.links[0].capacity
    ways = {"work": 1.0, "up": capacity, "down": capacity}
    return max(
        seconds / share for (_, what), seconds in load.items() if (share := ways[what]) is not None
    )


def is_row(problem: Problem, homes: Homes) -> bool:
    """Return whether, in each pass, some row of the devices lets no tensor go back."""
    kinds = {o.name: o.kind for o in problem.graph.operators}
    devices = [d.name for d in problem.cluster.devices]
    return all(
        any(
            all(
                row.index(homes[tensor.producer]) <= row.index(homes[reader])
                for tensor in problem.graph.tensors
                for reader in tensor.consumers
                if kinds[tensor.producer] is kind and kinds[reader] is kind
            )
            for row in permutations(devices)
        )
        for kind in (Kind.FORWARD, Kind.BACKWARD)
    )


def least_seconds(problem: Problem, *, contiguous: bool = False) -> float:
    """Return the least load of the busiest engine or link over all partitions."""
    return min(
        seconds_per_sample(problem, homes)
        for homes in all_homes(problem)
        if not contiguous or is_row(problem, homes)
    )
