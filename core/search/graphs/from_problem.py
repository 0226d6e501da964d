"""Makes the task graph of a problem."""

from __future__ import annotations

from itertools import product

import attrs
import numpy as np

from parplan.declarations import Moving, Receiving, ResidentParameters, Running, Sending
from parplan.problem import STEP, Problem
from parplan.scheduling.tables import Flags, Real, Whole
from parplan.search.graphs.task_graph import (
    Lists,
    Memory,
    Routes,
    Sends,
    TaskGraph,
    inverted,
    lists_of,
)
from parplan.search.placing.placement import Placement, Placer
from parplan.system.collector import collector_paused

ALONE = 0.5
"""What takes more than this part of a resource's capacity has it alone."""

LARGE_BYTES = 2**30
"""A transfer of this size tells the ticks per byte of a route."""


def can_be_placed(placer: Placer) -> bool:
    """Return whether every block runs on some single device."""
    return all(all(row) for row in placer.devices_of)


@collector_paused()
def make_task_graph(placer: Placer) -> TaskGraph:
    """Return the arrays of a problem in which each block runs on one device, in its first mode.

    Linear in tasks x devices and in reading tasks.

    Raises
    ------
    ValueError
        If some block cannot run on a single device: see ``can_be_placed``.
    """
    if not can_be_placed(placer):
        raise ValueError("some block runs on no single device")
    problem = placer.problem
    first = _first_tasks(problem)
    lane, lanes = _lanes(placer, first)
    return TaskGraph(
        unit=_units(placer, first),
        ticks=_ticks(placer, first),
        lane=lane,
        lanes=lanes,
        release=_releases(problem, first),
        order=_order(problem, first),
        allowed=_allowed(placer),
        sends=_sends(placer, first),
        routes=_routes(placer),
        memory=_memory(placer),
    )


def with_activations(graph: TaskGraph, placer: Placer, microbatches: int) -> TaskGraph:
    """Return the graph in which units keep what so many microbatches leave for backward passes."""
    kept = np.tile(np.array(placer.saved_bytes, dtype=float), len(placer.groups)) * microbatches
    return attrs.evolve(graph, memory=attrs.evolve(graph.memory, kept_bytes=kept))


def placement_of(placer: Placer, device_of_unit: Whole) -> Placement:
    """Return the placement in which each unit of the task graph has this device."""
    rows = device_of_unit.reshape(len(placer.groups), len(placer.blocks))
    return tuple(tuple(int(d) for d in row) for row in rows)


def _first_tasks(problem: Problem) -> Whole:
    """Return ``(operators + 1,)``, the first task of each operator."""
    counts = [len(problem.microbatches_of(o)) for o in range(len(problem.graph.operators))]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _runs_once(problem: Problem, operator: int) -> bool:
    return problem.microbatches_of(operator).start == STEP


def _units(placer: Placer, first: Whole) -> Whole:
    problem, blocks = placer.problem, len(placer.blocks)
    groups = np.array([problem.workload.group(m) for m in range(problem.workload.microbatches)])
    unit = np.zeros(first[-1], dtype=np.int64)
    for o, block in enumerate(placer.blocks.block_of):
        own = 0 if _runs_once(problem, o) else groups * blocks
        unit[first[o] : first[o + 1]] = own + block
    return unit


def _allowed(placer: Placer) -> Flags:
    allowed = np.zeros(
        (len(placer.groups) * len(placer.blocks), len(placer.problem.cluster.devices)), np.bool_
    )
    rows = (devices for row in placer.devices_of for devices in row)
    for unit, devices in enumerate(rows):
        allowed[unit, list(devices)] = True
    return allowed


def _ticks(placer: Placer, first: Whole) -> Whole:
    """Return the ticks of every task on every device; equal devices are asked once."""
    problem = placer.problem
    devices = problem.cluster.devices
    alike: dict[object, int] = {}
    kind = [
        alike.setdefault((d.kind, tuple(sorted(d.slowdown.items()))), i)
        for i, d in enumerate(devices)
    ]
    ticks = np.full((first[-1], len(devices)), -1, dtype=np.int64)
    patterns: dict[tuple[int, int], tuple[list[int], list[int], Whole]] = {}
    workload = problem.workload
    classes = [(workload.group(m), workload.scale(m)) for m in range(workload.microbatches)]
    for o in range(len(problem.graph.operators)):
        once = _runs_once(problem, o)
        for (group, scale), m in ({(0, 1.0): STEP} if once else _last_of(classes)).items():
            choices = placer.choices[group][o]
            key = id(choices), id(problem.alternatives[o])
            if key not in patterns:
                seen: dict[tuple[int, int], int] = {}
                where: list[tuple[int, int]] = []
                rows: list[int] = []
                for device, options in choices.items():
                    alternative = problem.alternatives[o][options[0]]
                    same = alternative.mode, kind[alternative.devices[0]]
                    if same not in seen:
                        seen[same] = len(rows)
                        rows.append(options[0])
                    where.append((device, seen[same]))
                places = [d for d, _ in where]
                patterns[key] = (places, rows, np.array([r for _, r in where], dtype=np.int64))
            places, rows, which = patterns[key]
            found = [problem.ticks(o, problem.alternatives[o][row], m) for row in rows]
            values = np.array(found, dtype=np.int64)[which]
            if once or len(set(classes)) == 1:
                ticks[first[o] : first[o + 1], places] = values
                continue
            mine = [k for k, own in enumerate(classes) if own == (group, scale)]
            ticks[np.ix_(first[o] + np.array(mine), places)] = values
    return ticks


def _last_of(classes: list[tuple[int, float]]) -> dict[tuple[int, float], int]:
    """Return a microbatch of each class."""
    return {own: m for m, own in enumerate(classes)}


def _lanes(placer: Placer, first: Whole) -> tuple[Whole, int]:
    """Return the engine that each task has alone, and how many engines there are."""
    problem = placer.problem
    names: dict[str, int] = {}
    alone = _engines_alone(placer)
    lane = np.full(first[-1], -1, dtype=np.int64)
    for o, operator in enumerate(problem.graph.operators):
        engines = operator.modes[0].engines
        held = [e for e in engines if e in alone]
        if held:
            busiest = placer.busiest_engine
            engine = busiest if busiest in held else held[0]
            lane[first[o] : first[o + 1]] = names.setdefault(engine, len(names))
    return lane, max(len(names), 1)


def _engines_alone(placer: Placer) -> set[str]:
    """Return the engines of which some device carries one task at a time."""
    return {
        demand.engine
        for _, resource in placer.rules.resources
        for demand in resource.demands
        if isinstance(demand, Running)
        and demand.engine is not None
        and isinstance(demand.amount, int | float)
        and demand.amount > ALONE * resource.capacity
    }


def _releases(problem: Problem, first: Whole) -> Whole:
    releases = np.array([problem.release(m) for m in range(problem.workload.microbatches)])
    found = np.zeros(first[-1], dtype=np.int64)
    for o in range(len(first) - 1):
        if not _runs_once(problem, o) and releases.any():
            found[first[o] : first[o + 1]] = releases
    return found


def _order(problem: Problem, first: Whole) -> Whole:
    ordered = np.array(problem.graph.topological_order, dtype=np.int64)
    counts = np.diff(first)[ordered]
    starts = np.repeat(first[ordered] - np.cumsum(counts) + counts, counts)
    return np.asarray(starts + np.arange(first[-1]), dtype=np.int64)


def _sends(placer: Placer, first: Whole) -> Sends:
    problem, graph = placer.problem, placer.problem.graph
    choices = placer.choices
    own_mode = [
        problem.alternatives[o][min(row[0] for row in choices[0][o].values())].mode
        for o in range(len(graph.operators))
    ]
    rows: list[tuple[int, int, float, list[int]]] = []
    starts = first.tolist()
    once = [_runs_once(problem, o) for o in range(len(graph.operators))]
    for tensor, producer in enumerate(graph.producers):
        readers = [
            c
            for c in graph.consumers[tensor]
            if graph.operators[c].modes[own_mode[c]].reads is None
            or tensor in graph.reads(c, own_mode[c])
        ]
        for k, m in enumerate(problem.microbatches_of(producer)):
            size = problem.tensor_bytes(tensor, own_mode[producer], m)
            if size is None:
                continue
            tasks: list[int] = []
            for c in readers:
                if m == STEP or once[c]:
                    tasks.extend(range(starts[c], starts[c + 1]))
                else:
                    tasks.append(starts[c] + m)
            rows.append((starts[producer] + k, tensor, float(size), tasks))
    rows.sort(key=lambda row: row[:2])
    producer_of = np.array([row[0] for row in rows], dtype=np.int64)
    readers_of = lists_of([row[3] for row in rows])
    count = int(first[-1])
    of_task = inverted(Lists(np.arange(len(rows) + 1, dtype=np.int64), producer_of), count)
    return Sends(
        producer_of,
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=float),
        of_task,
        readers_of,
        inverted(readers_of, count),
    )


def _routes(placer: Placer) -> Routes:
    problem = placer.problem
    count = len(problem.cluster.devices)
    per_byte = np.full((count, count), np.inf)
    latency = np.zeros((count, count), dtype=np.int64)
    link_alone, sending, receiving, channels = _channels_alone(placer)
    rows: list[list[int]] = [[] for _ in range(count * count)]
    for source, target in product(range(count), repeat=2):
        timing = None if source == target else problem.transfer_timing(LARGE_BYTES, source, target)
        if timing is None:
            continue
        per_byte[source, target] = timing.occupied / LARGE_BYTES
        latency[source, target] = timing.arrival - timing.occupied
        held = [c for hold in timing.holds for c in link_alone.get(hold.link, ())]
        held += [*sending.get(source, ()), *receiving.get(target, ())]
        rows[source * count + target] = list(dict.fromkeys(held))
    np.fill_diagonal(per_byte, 0.0)
    return Routes(per_byte, latency, lists_of(rows), channels)


def _channels_alone(
    placer: Placer,
) -> tuple[dict[int, list[int]], dict[int, list[int]], dict[int, list[int]], int]:
    """Return the channels of each link, sending device and receiving device, and their number."""
    cluster = placer.problem.cluster
    links: dict[int, list[int]] = {}
    sending: dict[int, list[int]] = {}
    receiving: dict[int, list[int]] = {}
    channels = 0
    for _, resource in placer.rules.resources:
        used = False
        for demand in resource.demands:
            if not isinstance(demand, Moving | Sending | Receiving):
                continue
            if demand.amount <= ALONE * resource.capacity:
                continue
            used = True
            match demand:
                case Moving():
                    links.setdefault(cluster.link_index[demand.link], []).append(channels)
                case Sending():
                    sending.setdefault(cluster.device_index[demand.device], []).append(channels)
                case Receiving():
                    receiving.setdefault(cluster.device_index[demand.device], []).append(channels)
        channels += used
    return links, sending, receiving, channels


def _memory(placer: Placer) -> Memory:
    graph = placer.problem.graph
    index = graph.parameter_index
    per_block = [
        sorted({index[name] for o in members for name in graph.operators[o].parameters})
        for members in placer.blocks.members
    ]
    units = len(placer.groups) * len(placer.blocks)
    return Memory(
        room=_room(placer),
        groups=lists_of(per_block * len(placer.groups)),
        group_bytes=np.array([group.bytes for group in graph.parameters], dtype=float),
        kept_bytes=np.zeros(units),
    )


def _room(placer: Placer) -> Real:
    """Return the bytes that parameters may take on each device."""
    devices = placer.problem.cluster.device_index
    room = np.full(len(devices), np.inf)
    for _, resource in placer.rules.resources:
        for demand in resource.demands:
            if isinstance(demand, ResidentParameters) and demand.amount > 0:
                device = devices[demand.device]
                room[device] = min(room[device], resource.capacity / demand.amount)
    return room
