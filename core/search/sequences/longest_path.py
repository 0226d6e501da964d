"""Times of an order by longest path, in plain Python: what ``kernel`` is held against."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.sequences.machines import Machines


def earliest_starts(machines: Machines, order: Whole) -> Whole | None:
    """Return the earliest start of each node under an order; None if the order waits for itself."""
    arcs = _arcs(machines, order)
    starts = machines.releases.copy()
    try:
        for i in TopologicalSorter(arcs).static_order():
            starts[i] = max(
                [int(starts[i]), *(int(starts[before]) + d for before, d in arcs[i].items())]
            )
    except CycleError:
        return None
    return starts


def latest_starts(machines: Machines, order: Whole, earliest: Whole) -> tuple[int, Whole]:
    """Return the longest span of a machine, and the starts that make it so.

    Everything starts as late as the end of the last task on every machine allows.
    """
    m = machines
    makespan = makespan_of(m, earliest)
    tasks = [
        [i for i in order[a:b].tolist() if m.counted[i] and _runs(m, q, i)]
        for q, (a, b) in enumerate(pairwise(m.first.tolist()))
    ]
    ends = [max((int(earliest[i] + m.durations[i]) for i in row), default=0) for row in tasks]
    late = makespan - m.durations
    for row, end in zip(tasks, ends, strict=True):
        for i in row:
            late[i] = min(late[i], end - m.durations[i])
    arcs = _arcs(m, order)
    for i in reversed(list(TopologicalSorter(arcs).static_order())):
        for before, delay in arcs[i].items():
            late[before] = min(late[before], late[i] - delay)
    spans = [
        end - min(int(late[i]) for i in row) for row, end in zip(tasks, ends, strict=True) if row
    ]
    return max(spans, default=0), late


def paths_to_end(machines: Machines, order: Whole) -> Whole:
    """Return the longest path from the start of each node to the end of the last task."""
    arcs = _arcs(machines, order)
    rest = np.where(machines.counted, machines.durations, 0)
    for i in reversed(list(TopologicalSorter(arcs).static_order())):
        for before, delay in arcs[i].items():
            rest[before] = max(rest[before], rest[i] + delay)
    return rest


def _arcs(machines: Machines, order: Whole) -> dict[int, dict[int, int]]:
    """Return for each node what it waits for, and how long after that starts."""
    m = machines
    arcs: dict[int, dict[int, int]] = {i: {} for i in range(len(m.durations))}

    def wait(node: int, before: int, delay: int) -> None:
        arcs[node][before] = max(arcs[node].get(before, delay), delay)

    for i in arcs:
        for k in range(m.arc_first[i], m.arc_first[i + 1]):
            wait(i, int(m.arc_from[k]), int(m.arc_delay[k]))
    for q in range(len(m.first) - 1):
        row = order[m.first[q] : m.first[q + 1]].tolist()
        for place, i in enumerate(row):
            for before in row[:place]:
                ended = (_runs(m, q, i) and _runs(m, q, before)) or _gives(m, q, before)
                wait(i, before, int(m.durations[before]) if ended else 0)
    return arcs


def order_fits(machines: Machines, order: Whole) -> bool:
    """Return whether every machine's resources suffice for the order of its visits."""
    m = machines
    for q in range(len(m.first) - 1):
        row = order[m.first[q] : m.first[q + 1]].tolist()
        place = {i: p for p, i in enumerate(row)}
        kept = range(m.kept_first[q], m.kept_first[q + 1])
        level = {r: float(m.levels[r]) for r in kept}
        for p, i in enumerate(row):
            moves = range(m.move_first[i], m.move_first[i + 1])
            for k in moves:
                r = int(m.move_resource[k])
                if r in level and level[r] + m.move_take[k] > m.limits[r]:
                    return False
            for k in moves:
                r = int(m.move_resource[k])
                if r in level:
                    level[r] += m.move_take[k] - m.move_give[k]
            for b in m.last_buffer[m.last_first[i] : m.last_first[i + 1]].tolist():
                nodes = m.buffer_nodes[m.buffer_first[b] : m.buffer_first[b + 1]].tolist()
                if all(place.get(n, -1) <= p for n in nodes):
                    for h in range(m.hold_first[b], m.hold_first[b + 1]):
                        r = int(m.hold_resource[h])
                        if r in level:
                            level[r] -= m.hold_amount[h]
    return True


def makespan_of(machines: Machines, starts: Whole) -> int:
    """Return the end of the last task."""
    ends = np.where(machines.counted, starts + machines.durations, 0)
    return int(ends.max())


def _runs(m: Machines, q: int, node: int) -> bool:
    return any(
        m.visit_machine[k] == q and m.visit_runs[k]
        for k in range(m.visit_first[node], m.visit_first[node + 1])
    )


def _gives(m: Machines, q: int, node: int) -> bool:
    kept = range(m.kept_first[q], m.kept_first[q + 1])
    given = any(
        m.move_give[k] > 0 and m.move_resource[k] in kept
        for k in range(m.move_first[node], m.move_first[node + 1])
    )
    return given or any(
        m.hold_resource[h] in kept
        for b in m.last_buffer[m.last_first[node] : m.last_first[node + 1]].tolist()
        for h in range(m.hold_first[b], m.hold_first[b + 1])
    )
