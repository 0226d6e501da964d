"""A problem as a partition: items on devices, tensors as hyperedges, places with loads.

An item is a block of operators that stay together. A place is an engine of a device, or a link.
All placement groups take the same devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parplan.declarations import Contiguous
from parplan.graph import Kind
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.scheduling.tables import Real, Whole
from parplan.search.placing.placement import Placer
from parplan.steady_state import Loading, Place, capacity_of

Mask = NDArray[np.bool_]

UNREACHED = np.inf
"""Rate of a pair of devices without a route."""

BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)


class Instance(NamedTuple):
    """What a partition loads, in arrays for compiled code.

    Attributes
    ----------
    work
        Ticks per microbatch of each ``[item, device, engine]``, by the engine's capacity.
    allowed
        ``[item, device]``.
    bytes
        Memory that each item takes for good.
    room
        Memory of each device; infinite if not limited.
    sizes
        Bytes per microbatch of each tensor that another item reads.
    makers
        The item that makes each tensor.
    reader_first, readers
        The other items that read tensor ``t``: ``readers[reader_first[t] : reader_first[t + 1]]``.
    touch_first, touching
        The tensors that each item makes or reads, in the same form.
    place
        Of each ``[source, target, k]`` a place that a transfer holds; -1: no further one.
    rate
        Ticks per byte there, by the place's capacity.
    once
        Whether that place is loaded by the longest transfer of a tensor alone.
    places
        Number of places: engines first, device by device, then links.
    arc_tail, arc_head, arc_flow
        Pairs of items of which one reads what the other makes, and in which flow of data.
    arc_first, arcs
        The arcs of each item, in the form of ``touching``.
    goes_back
        Whether a flow leads the other way round: that of a backward pass.
    contiguous
        Whether devices must stand in a row in which no arc goes back, one row for each flow.
    """

    work: Real
    allowed: Mask
    bytes: Real
    room: Real
    sizes: Real
    makers: Whole
    reader_first: Whole
    readers: Whole
    touch_first: Whole
    touching: Whole
    place: Whole
    rate: Real
    once: Mask
    places: int
    arc_tail: Whole
    arc_head: Whole
    arc_flow: Whole
    arc_first: Whole
    arcs: Whole
    goes_back: Mask
    contiguous: bool


def make_instance(placer: Placer, loading: Loading) -> Instance | None:
    """Return the partition that a problem is; None if some block has no device for all groups.

    O(operators x devices + readers + devices squared x links of a route).
    """
    allowed = _allowed(placer)
    if not allowed.any(axis=1).all():
        return None
    problem = placer.problem
    engines = _engines(problem)
    sizes, makers, readers = _tensors(placer)
    touched: list[list[int]] = [[] for _ in placer.blocks.members]
    for t, (maker, row) in enumerate(zip(makers, readers, strict=True)):
        for item in (maker, *row):
            touched[item].append(t)
    flows = _flows(placer.rules)
    arcs = sorted(set(_arcs(placer, flows)))
    at: list[list[int]] = [[] for _ in placer.blocks.members]
    for a, (tail, head, _) in enumerate(arcs):
        at[tail].append(a)
        at[head].append(a)
    place, rate, once = _routes(problem, engines, loading)
    usable = [device.usable_bytes for device in problem.cluster.devices]
    reader_first, reader = ragged(readers)
    touch_first, touching = ragged(touched)
    arc_first, arc = ragged(at)
    columns = np.array(arcs, dtype=np.int64).reshape(len(arcs), 3)
    return Instance(
        work=_work(placer, engines, allowed),
        allowed=allowed,
        bytes=np.array(placer.parameter_bytes, dtype=np.float64),
        room=np.array([np.inf if room is None else room for room in usable]),
        sizes=np.array(sizes, dtype=np.float64),
        makers=np.array(makers, dtype=np.int64),
        reader_first=reader_first,
        readers=reader,
        touch_first=touch_first,
        touching=touching,
        place=place,
        rate=rate,
        once=once,
        places=len(problem.cluster.devices) * len(engines) + len(problem.cluster.links),
        arc_tail=columns[:, 0].copy(),
        arc_head=columns[:, 1].copy(),
        arc_flow=columns[:, 2].copy(),
        arc_first=arc_first,
        arcs=arc,
        goes_back=np.array([_goes_back(problem, flow) for flow in flows], dtype=np.bool_),
        contiguous=bool(placer.rules.of(Contiguous)),
    )


def ragged(rows: list[list[int]]) -> tuple[Whole, Whole]:
    """Return where each row begins in the second array, with the end of the last, and all rows."""
    first = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=first[1:])
    return first, np.array([value for row in rows for value in row], dtype=np.int64)


def _allowed(placer: Placer) -> Mask:
    found = np.zeros((len(placer.blocks), len(placer.problem.cluster.devices)), dtype=np.bool_)
    for block, rows in enumerate(zip(*placer.devices_of, strict=True)):
        found[block, sorted(frozenset.intersection(*rows))] = True
    return found


def _engines(problem: Problem) -> list[str]:
    """Return the engines that tasks or transfers hold."""
    used = {e for o in problem.graph.operators for mode in o.modes for e in mode.engines}
    return sorted({*used, *filter(None, problem.cluster.transfer_engines)})


def _work(placer: Placer, engines: list[str], allowed: Mask) -> Real:
    problem = placer.problem
    devices = problem.cluster.devices
    found = np.zeros((*allowed.shape, len(engines)))
    for group, choices in enumerate(placer.choices):
        for o, by_device in enumerate(choices):
            runs = [m for m in problem.microbatches_of(o) if problem.workload.group(m) == group]
            item = placer.blocks.block_of[o]
            for d in np.flatnonzero(allowed[item]).tolist() if runs else ():
                chosen = problem.alternatives[o][by_device[d][0]]
                (home,) = chosen.devices
                ticks = sum(problem.ticks(o, chosen, m) for m in runs)
                for engine in problem.graph.operators[o].modes[chosen.mode].engines:
                    capacity = devices[home].engines[engine]
                    found[item, home, engines.index(engine)] += ticks / capacity
    return found / problem.workload.microbatches


def _tensors(placer: Placer) -> tuple[list[float], list[int], list[list[int]]]:
    """Return bytes per microbatch, maker and readers of each tensor that leaves its item."""
    problem, block_of = placer.problem, placer.blocks.block_of
    graph = problem.graph
    sizes, makers, readers = [], [], []
    first = [
        problem.alternatives[o][rows[0][0]].mode
        for o, rows in enumerate(placer.rules.allowed_by_group)
    ]
    for t, producer in enumerate(graph.producers):
        own = block_of[producer]
        row = {block_of[c] for c in graph.consumers[t] if t in graph.reads(c, first[c])} - {own}
        moved = sum(
            problem.tensor_bytes(t, first[producer], m) or 0
            for m in problem.microbatches_of(producer)
        )
        if row:
            sizes.append(moved / problem.workload.microbatches)
            makers.append(own)
            readers.append(sorted(row))
    return sizes, makers, readers


def _flows(rules: Rules) -> list[frozenset[str]]:
    """Return the operators between which data flows on: those declared, else those of a pass."""
    declared = rules.of(Contiguous)
    if declared:
        return [frozenset(what.operators) for _, what in declared]
    operators = rules.problem.graph.operators
    return [
        frozenset(o.name for o in operators if (o.kind in BACKWARD) is backward)
        for backward in (False, True)
    ]


def _goes_back(problem: Problem, flow: frozenset[str]) -> bool:
    """Return whether a flow is of a backward pass."""
    index, operators = problem.graph.operator_index, problem.graph.operators
    backward = sum(operators[index[name]].kind in BACKWARD for name in flow)
    return 2 * backward > len(flow)


def _arcs(placer: Placer, flows: list[frozenset[str]]) -> Iterator[tuple[int, int, int]]:
    """Yield (item, item that reads from it, flow), where both ends are of one flow."""
    graph, block_of = placer.problem.graph, placer.blocks.block_of
    index = graph.operator_index
    for number, flow in enumerate(flows):
        inside = {index[name] for name in flow}
        for producer, consumers in zip(graph.producers, graph.consumers, strict=True):
            if producer in inside:
                for consumer in inside.intersection(consumers):
                    if block_of[producer] != block_of[consumer]:
                        yield block_of[producer], block_of[consumer], number


def _routes(problem: Problem, engines: list[str], loading: Loading) -> tuple[Whole, Real, Mask]:
    """Return place, ticks per byte and whether once, of all that a transfer holds."""
    cluster = problem.cluster
    count = len(cluster.devices)
    held: dict[tuple[int, int], list[tuple[int, float, bool]]] = {}
    for source in range(count):
        for target in range(count):
            held[source, target] = list(_held(problem, engines, source, target))
    width = max(map(len, held.values()), default=0) or 1
    place = np.full((count, count, width), -1, dtype=np.int64)
    rate = np.zeros((count, count, width))
    once = np.zeros((count, count, width), dtype=np.bool_)
    for (source, target), row in held.items():
        for k, (where, ticks, at_source) in enumerate(row):
            place[source, target, k] = where
            rate[source, target, k] = ticks
            once[source, target, k] = at_source and loading.leaves_once
    return place, rate, once


def _held(
    problem: Problem, engines: list[str], source: int, target: int
) -> Iterator[tuple[int, float, bool]]:
    """Yield (place, ticks per byte by its capacity, whether at the source) of a transfer."""
    cluster = problem.cluster
    count = len(cluster.devices)
    if source == target:
        return
    route = cluster.route(source, target)
    if route is None:
        yield 0, UNREACHED, False
        return
    slow = problem.transfer_slowdown(source, target) / problem.tick_s
    links = [cluster.link_index[name] for name in route.links]
    times = [slow / cluster.links[k].bandwidth for k in links]
    whole = sum(times) if route.store_and_forward else max(times, default=0.0)
    for device, engine in zip((source, target), cluster.transfer_engines, strict=True):
        if engine is not None and engine in cluster.devices[device].engines:
            capacity = capacity_of(cluster, Place(device, engine))
            assert capacity is not None  # engines have one
            row = device * len(engines) + engines.index(engine)
            yield row, whole / capacity, device == source
    for k, ticks in zip(links, times, strict=True):
        capacity = cluster.links[k].capacity
        if capacity is not None:
            at_source = cluster.links[k].source == cluster.devices[source].name
            own = ticks if route.store_and_forward else whole
            yield count * len(engines) + k, own / capacity, at_source
