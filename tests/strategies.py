"""Hypothesis strategies: small problems with all that the IR can say, and valid schedules.

Times are small whole numbers, so what is at fault can be seen in a failing example. Whatever
``problems`` draws can be placed and run one task after another, but need not fit into memory.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import attrs
from hypothesis import assume
from hypothesis import strategies as st

from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor
from parplan.hardware import Cluster, Device, Link, Route
from parplan.problem import STEP, Alternative, Problem
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload

KINDS = ("fast", "slow")


@st.composite
def clusters(draw: st.DrawFn, max_devices: int = 3, min_devices: int = 1) -> Cluster:
    """Devices of two kinds, joined pair by pair or through a switch; every pair has a route."""
    count = draw(st.integers(min_devices, max_devices))
    devices = tuple(
        Device(
            f"g{i}",
            draw(st.sampled_from(KINDS)),
            slowdown=draw(st.sampled_from([{}, {}, {"compute": 1.5}, {"send": 2.0}])),
            peak_flops={"bf16": 1.0},
        )
        for i in range(count)
    )
    names = [device.name for device in devices]
    speed = st.sampled_from([1.0, 2.0, 4.0, float("inf")])
    wait = st.sampled_from([0.0, 0.0, 1.0, 2.0])
    switches: tuple[str, ...] = ()
    if draw(st.booleans()):
        pairs = [(a, b) for a in names for b in names if a < b]
    else:
        switches, pairs = ("hub",), [(name, "hub") for name in names]
    links = []
    for a, b in pairs:
        capacity = draw(st.sampled_from([1, 1, 2, None]))
        if draw(st.booleans()):
            links.append(Link(f"{a}-{b}", a, b, draw(speed), draw(wait), capacity, shared=True))
        else:
            links.append(Link(f"{a}>{b}", a, b, draw(speed), draw(wait), capacity))
            links.append(Link(f"{b}>{a}", b, a, draw(speed), draw(wait), capacity))
    cluster = Cluster(
        "drawn",
        devices,
        tuple(links),
        switches,
        groups=tuple((a, b) for a in names for b in names if a < b),
        transfer_engines=draw(
            st.sampled_from([(None, None), ("send", "receive"), ("compute", "compute")])
        ),
        fifo=draw(st.booleans()),
    )
    if switches and draw(st.booleans()):
        routes = [cluster.route(a, b) for a in range(count) for b in range(count) if a != b]
        slow = tuple(Route(r.source, r.target, r.links, True) for r in routes if r is not None)
        cluster = attrs.evolve(cluster, routes=slow)
    return cluster


@st.composite
def graphs(
    draw: st.DrawFn, max_operators: int = 5, *, gangs: bool = True, modes: bool = True
) -> Graph:
    """Small graphs with zero and positive times, optional gangs, recomputation and step work."""
    count = draw(st.integers(1, max_operators))
    names = [f"o{i}" for i in range(count)]
    tensors: list[Tensor] = []
    for i, name in enumerate(names):
        later = names[i + 1 :]
        readers = draw(st.lists(st.sampled_from(later), unique=True, max_size=2)) if later else []
        if readers or draw(st.booleans()):
            size = draw(st.integers(0, 6))
            tensors.append(Tensor(f"t{i}", name, tuple(readers), size, draw(st.booleans())))
    saved = next((t for t in tensors if t.consumers), None) if modes else None
    groups = (ParameterGroup("w", 3, 3, 0, 3), ParameterGroup("v", 2))
    operators = []
    for i, name in enumerate(names):
        base = Mode(
            "keep",
            seconds=draw(_durations()),
            workspace_bytes=draw(st.integers(0, 3)),
            engines=draw(st.sampled_from([("compute",), ("compute",), ("compute", "collective")])),
        )
        found = [base]
        if saved is not None and draw(st.booleans()):
            found += _light_modes(base, name, saved, tensors)
        if gangs and draw(st.integers(0, 3)) == 0:
            steps = draw(st.integers(0, 2))
            found.append(
                attrs.evolve(base, name="gang", devices=2, ring_steps=steps, ring_bytes=4 * steps)
            )
        last = i == count - 1
        operators.append(
            Operator(
                name,
                draw(st.sampled_from([Kind.FORWARD, Kind.BACKWARD, Kind.OTHER])),
                flops=float(draw(st.integers(0, 4))),
                parameters=draw(st.sampled_from([(), ("w",), ("v",), ("w", "v")])),
                repeat=Repeat.STEP if last and draw(st.booleans()) else Repeat.MICROBATCH,
                modes=tuple(found),
            )
        )
    return Graph("drawn", tuple(operators), tuple(tensors), groups)


@st.composite
def _durations(draw: st.DrawFn) -> dict[str, float]:
    fast = draw(st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0]))
    return {"fast": fast, "slow": fast + draw(st.sampled_from([0.0, 1.0]))}


def _light_modes(base: Mode, operator: str, saved: Tensor, tensors: Sequence[Tensor]) -> list[Mode]:
    """Modes that do without a saved tensor: its producer's, or a reader's (and that is longer)."""
    if operator == saved.producer:
        return [attrs.evolve(base, name="light", writes={})]
    if operator not in saved.consumers:
        return []
    reads = tuple(t.name for t in tensors if operator in t.consumers and t is not saved)
    longer = {kind: seconds + 1.0 for kind, seconds in base.seconds.items()}
    return [attrs.evolve(base, name="light", reads=reads, seconds=longer)]


@st.composite
def workloads(draw: st.DrawFn, max_microbatches: int = 3) -> Workload:
    """Equal or unequal microbatches, with or without placement groups and releases."""
    count = draw(st.integers(1, max_microbatches))
    groups = draw(st.sampled_from([(), (), tuple(i % 2 for i in range(count))]))
    scales = draw(st.sampled_from([(), (), tuple(1.0 + 0.5 * (i % 2) for i in range(count))]))
    releases_s = draw(st.sampled_from([(), (), tuple(float(2 * i) for i in range(count))]))
    return Workload(
        microbatches=count,
        groups=groups,
        scales=scales,
        releases_s=releases_s,
    )


@st.composite
def problems(
    draw: st.DrawFn,
    max_operators: int = 5,
    max_devices: int = 3,
    max_microbatches: int = 3,
    *,
    gangs: bool = True,
    modes: bool = True,
    memory: bool = True,
) -> Problem:
    """Whole problems; with ``memory`` some devices have a capacity, which may be too small."""
    cluster = draw(clusters(max_devices))
    if memory:
        cap = st.sampled_from([None, None, 16, 24, 40])
        cluster = attrs.evolve(
            cluster,
            devices=tuple(attrs.evolve(d, memory_bytes=draw(cap)) for d in cluster.devices),
        )
    return Problem(
        "drawn",
        draw(graphs(max_operators, gangs=gangs, modes=modes)),
        cluster,
        draw(workloads(max_microbatches)),
        tick_s=draw(st.sampled_from([1.0, 0.5])),
    )


@st.composite
def schedules(draw: st.DrawFn, **bounds: int) -> Schedule:
    """Valid schedules of problems without memory limits: one activity after another."""
    problem = draw(problems(memory=False, **bounds))
    chosen = choose(problem, random.Random(draw(st.integers(0, 999))))
    assume(chosen is not None)
    assert chosen is not None
    return serial(problem, chosen, random.Random(draw(st.integers(0, 99))))


Chosen = Mapping[tuple[int, int], int]
"""Index of the alternative of each (operator, placement group)."""


def choose(problem: Problem, chance: random.Random) -> Chosen | None:
    """Return alternatives that fit each other, drawn at random; None if ten draws found none."""
    for _ in range(10):
        chosen: dict[tuple[int, int], int] = {}
        fits = True
        for operator in problem.graph.topological_order:
            for group in range(problem.workload.group_count):
                options = [
                    i
                    for i, a in enumerate(problem.alternatives[operator])
                    if _fits(problem, operator, a, group, chosen)
                ]
                fits = fits and bool(options)
                chosen[operator, group] = chance.choice(options) if options else 0
        if fits:
            return chosen
    return None


def _fits(
    problem: Problem, operator: int, alternative: Alternative, group: int, chosen: Chosen
) -> bool:
    graph = problem.graph
    for tensor in graph.reads(operator, alternative.mode):
        producer = graph.producers[tensor]
        once = Repeat.STEP in (graph.operators[operator].repeat, graph.operators[producer].repeat)
        for other in range(problem.workload.group_count) if once else [group]:
            made = problem.alternatives[producer][chosen[producer, other]]
            if tensor not in graph.writes(producer, made.mode):
                return False
    return True


def serial(problem: Problem, chosen: Chosen, chance: random.Random | None = None) -> Schedule:
    """Return a schedule of one activity after another, each tensor sent as soon as it is made.

    With ``chance`` there are pauses between tasks.
    """
    graph, workload = problem.graph, problem.workload
    tasks: list[tuple[int, int, int, int]] = []
    transfers: list[tuple[int, int, int, int, int]] = []
    now = 0

    def placed(operator: int, microbatch: int) -> Alternative:
        return problem.alternatives[operator][chosen[operator, workload.group(microbatch)]]

    for operator in graph.topological_order:
        for microbatch in problem.microbatches_of(operator):
            now = max(now, problem.release(microbatch)) + (chance.randrange(3) if chance else 0)
            here = placed(operator, microbatch)
            row = chosen[operator, workload.group(microbatch)]
            tasks.append((operator, microbatch, row, now))
            now += problem.ticks(operator, here, microbatch)
            for tensor in graph.writes(operator, here.mode):
                targets = {
                    device
                    for reader in graph.consumers[tensor]
                    for run in problem.reading_tasks(reader, microbatch)
                    for place in (placed(reader, run),)
                    if tensor in graph.reads(reader, place.mode)
                    for device in place.devices
                }
                for target in sorted(targets - set(here.devices)):
                    size = problem.tensor_bytes(tensor, here.mode, microbatch)
                    assert size is not None
                    timing = problem.transfer_timing(size, here.devices[0], target)
                    assert timing is not None
                    transfers.append((tensor, microbatch, here.devices[0], target, now))
                    now += timing.arrival
    return Schedule(problem, Tasks(*_columns(tasks, 4)), Transfers(*_columns(transfers, 5)))


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> list[list[int]]:
    return [[row[i] for row in rows] for i in range(width)]


__all__ = [
    "STEP",
    "choose",
    "clusters",
    "graphs",
    "problems",
    "schedules",
    "serial",
    "workloads",
]
