"""Placement by earliest finish time: HEFT on blocks, for graphs that are no chains.

References
----------
Topcuoglu, Hariri, Wu (2002), "Performance-effective and low-complexity task scheduling".
"""

from __future__ import annotations

from parplan.graph import Kind
from parplan.search.placing.placement import Placer, Row


def earliest_finish(placer: Placer, group: int = 0) -> Row | None:
    """Return the row in which each block goes where its forward work would end first.

    Blocks come in their topological order; weights must fit. Transfers cost their time on the
    route but do not queue. O(blocks x devices + edges x devices). None if some block fits nowhere.
    """
    problem, graph = placer.problem, placer.problem.graph
    devices = problem.cluster.devices
    room = [float("inf") if d.usable_bytes is None else float(d.usable_bytes) for d in devices]
    free = [0.0] * len(devices)
    ends: dict[int, float] = {}
    row: list[int] = []
    for block, members in enumerate(placer.blocks.members):
        need = placer.parameter_bytes[block]
        best: tuple[float, int] | None = None
        for device in sorted(placer.devices_of[group][block]):
            if need > room[device]:
                continue
            ready = free[device]
            for operator in members:
                if graph.operators[operator].kind is not Kind.FORWARD:
                    continue
                for t in graph.inputs[operator]:
                    ready = max(ready, _arrival(placer, row, ends, t, device))
            end = ready + placer.loads[group][block][device]
            if best is None or end < best[0]:
                best = (end, device)
        if best is None:
            return None
        end, device = best
        row.append(device)
        free[device] = end
        room[device] -= need
        for operator in members:
            ends[operator] = end
    return tuple(row)


def _arrival(
    placer: Placer, row: list[int], ends: dict[int, float], tensor: int, device: int
) -> float:
    graph = placer.problem.graph
    producer = graph.producers[tensor]
    block = placer.blocks.block_of[producer]
    if block >= len(row):
        return 0.0
    end = ends.get(producer, 0.0)
    if row[block] == device:
        return end
    timing = placer.problem.transfer_timing(graph.tensors[tensor].bytes, row[block], device)
    return float("inf") if timing is None else end + timing.arrival
