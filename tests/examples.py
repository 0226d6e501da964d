"""Small problems by hand, for tests that need a known answer."""

from __future__ import annotations

from itertools import pairwise

import attrs

from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plugins.strategies.offload import Offload
from parplan.plugins.strategies.recompute import Recompute
from parplan.problem import Alternative, Problem, Rule
from parplan.schedule import Schedule
from parplan.workload import Workload
from tests.strategies import serial


def chain(
    operators: int,
    *,
    devices: int = 1,
    microbatches: int = 1,
    seconds: float = 1.0,
    size: int = 1,
) -> Problem:
    """Operators o0 -> o1 -> ... on equal devices g0, g1, ..., each pair joined both ways.

    Links carry 1 byte per second; operator i makes tensor t<i> of ``size`` bytes.
    """
    names = [f"o{i}" for i in range(operators)]
    tensors = tuple(Tensor(f"t{i}", a, (b,), size) for i, (a, b) in enumerate(pairwise(names)))
    mode = Mode(seconds={"*": seconds})
    spots = [f"g{i}" for i in range(devices)]
    return Problem(
        "chain",
        Graph("chain", tuple(Operator(name, modes=(mode,)) for name in names), tensors),
        Cluster(
            "equal",
            tuple(Device(spot, peak_flops={"bf16": 1.0}) for spot in spots),
            tuple(Link(f"{a}>{b}", a, b, 1.0) for a in spots for b in spots if a != b),
        ),
        Workload(microbatches=microbatches),
        tick_s=1.0,
    )


def line(stages: int, operators: int, microbatches: int) -> Problem:
    """A chain over as many devices as stages, with memory to watch, for checks at size."""
    problem = chain(stages * operators, devices=stages, microbatches=microbatches)
    cluster = problem.cluster
    big = tuple(
        Device(d.name, memory_bytes=10**12, peak_flops=d.peak_flops) for d in cluster.devices
    )
    return Problem(
        "line",
        problem.graph,
        Cluster(cluster.name, big, cluster.links),
        problem.workload,
        tick_s=1.0,
    )


def block(layers: int = 1, *, devices: int = 1, microbatches: int = 1) -> Problem:
    """Layers of one forward and one backward operator, with a tensor of 4 bytes saved for it.

    Forward takes 1 s, backward 2 s, the loss between them none; what passes on has 1 byte.
    """
    names = [f"layers.{i}" for i in range(layers)]
    forward, backward = [f"{n}:forward" for n in names], [f"{n}:backward" for n in names]
    passes = [(n, Kind.FORWARD, 1.0) for n in names] + [("loss", Kind.OTHER, 0.0)]
    passes += [(n, Kind.BACKWARD, 2.0) for n in names]
    operators = tuple(
        Operator(
            n if kind is Kind.OTHER else f"{n}:{kind.value}",
            kind,
            flops=flops,
            module=n,
            modes=(Mode(seconds={"*": flops}),),
        )
        for n, kind, flops in passes
    )
    tensors = [Tensor(f"{n}.saved", f, (b,), 4)
               for n, f, b in zip(names, forward, backward, strict=True)]  # fmt: skip
    tensors += [
        Tensor(f"{a}>", a, (b,), 1) for a, b in pairwise([*forward, "loss", *reversed(backward)])
    ]
    problem = chain(1, devices=devices, microbatches=microbatches)
    return Problem(
        "block",
        Graph("block", operators, tuple(tensors)),
        problem.cluster,
        problem.workload,
        tick_s=1.0,
    )


def recomputing(problem: Problem) -> Problem:
    """The same problem with the modes of recomputation."""
    return attrs.evolve(problem, graph=Recompute().apply(problem.graph, {}))


def with_host(problem: Problem, memory: int | None = None, bandwidth: float = 4.0) -> Problem:
    """The same problem with a host, to which every device has a link for each direction."""
    cluster = problem.cluster
    ends = [(d.name, "host") for d in cluster.devices]
    links = tuple(Link(f"{a}>{b}", a, b, bandwidth) for pair in ends for a, b in (pair, pair[::-1]))
    host = Device("host", "host", memory_bytes=memory, engines={})
    joined = attrs.evolve(cluster, devices=(*cluster.devices, host), links=(*cluster.links, *links))
    return attrs.evolve(problem, cluster=joined)


def offloading(problem: Problem, ahead: int = 2) -> Problem:
    """The same problem, on a cluster with a host, with the modes of offloading."""
    graph = Offload(ahead=ahead).apply(problem.graph, {"cluster": problem.cluster})
    return attrs.evolve(problem, graph=graph)


def ruled(problem: Problem, name: str, **options: object) -> Problem:
    """The same problem with one constraint more."""
    rules = (*problem.constraints, Rule(name, options))
    return attrs.evolve(problem, constraints=rules)


def placed(problem: Problem, **places: tuple[str, ...] | str) -> Schedule:
    """The schedule of one activity after another, with operators in ``mode`` and on devices.

    ``o1="g0"`` puts operator o1 on g0 in its first mode, ``o1=("light", "g0", "g1")`` in that mode
    on that group; the others stay in their first alternative.
    """
    chosen = {
        (o, group): 0
        for o in range(len(problem.graph.operators))
        for group in range(problem.workload.group_count)
    }
    for name, place in places.items():
        o = problem.graph.operator_index[name]
        operator = problem.graph.operators[o]
        mode, *devices = (operator.modes[0].name, place) if isinstance(place, str) else place
        wanted = Alternative(
            [m.name for m in operator.modes].index(mode),
            tuple(problem.cluster.device_index[d] for d in devices),
        )
        for group in range(problem.workload.group_count):
            chosen[o, group] = problem.alternatives[o].index(wanted)
    return serial(problem, chosen)
