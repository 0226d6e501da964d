"""Moves at the ends of blocks in plain Python: what ``neighbourhood`` is held against."""

from __future__ import annotations

from parplan.scheduling.tables import Whole
from parplan.search.sequences.machines import Machines

Move = tuple[int, int]
"""(from, to) as positions in an order."""


def block_moves(
    machines: Machines, order: Whole, starts: Whole, rest: Whole, low: int, high: int
) -> set[Move]:
    """Return the moves of a block from its first to its last position.

    Every visit goes to the front or to the back; the first and the last go anywhere in between.
    Nothing changes at a front at time zero, nor at a back behind which nothing is left to do.
    """
    found: set[Move] = set()
    if starts[order[low]] > 0:
        found |= {(p, low) for p in range(low + 1, high + 1)}
        found |= {(low, p) for p in range(low + 2, high)}
    if rest[order[high]] > machines.durations[order[high]]:
        found |= {(p, high) for p in range(low, high)}
        found |= {(high, p) for p in range(low + 1, high - 1)}
    return found


def after_move(order: Whole, at: int, to: int) -> Whole:
    """Return the order after a visit has gone from one position to another."""
    line = order.tolist()
    line.insert(to, line.pop(at))
    found = order.copy()
    found[:] = line
    return found


def promise(machines: Machines, order: Whole, starts: Whole, rest: Whole, at: int, to: int) -> int:
    """Return the longest path through the nodes between two positions after a move.

    The starts and the longest paths to the end of all other nodes count as they are.
    """
    m = machines
    new = after_move(order, at, to)
    low, high = min(at, to), max(at, to)
    inside = range(low, high + 1)
    machine = next(q for q in range(len(m.first) - 1) if m.first[q] <= at < m.first[q + 1])

    def neighbours(i: int) -> list[tuple[int | None, int | None]]:
        """Return what stands before and behind a node on its other machines."""
        found: list[tuple[int | None, int | None]] = []
        for q in m.visit_machine[m.visit_first[i] : m.visit_first[i + 1]].tolist():
            if q != machine:
                line = order[m.first[q] : m.first[q + 1]].tolist()
                p = line.index(i)
                found.append(
                    (line[p - 1] if p else None, line[p + 1] if p + 1 < len(line) else None)
                )
        return found

    heads: dict[int, int] = {}
    for p in inside:
        i = int(new[p])
        arcs = range(m.arc_first[i], m.arc_first[i + 1])
        begin = [int(m.releases[i]), *(int(starts[m.arc_from[k]] + m.arc_delay[k]) for k in arcs)]
        begin += [int(starts[n] + m.durations[n]) for n, _ in neighbours(i) if n is not None]
        if p > m.first[machine]:
            n = int(new[p - 1])
            begin.append(heads.get(n, int(starts[n])) + int(m.durations[n]))
        heads[i] = max(begin)
    tails: dict[int, int] = {}
    for p in reversed(inside):
        i = int(new[p])
        end = [int(m.durations[i]) if m.counted[i] else 0]
        end += [
            int(m.arc_delay[k] + rest[n])
            for n in range(len(m.durations))
            for k in range(m.arc_first[n], m.arc_first[n + 1])
            if m.arc_from[k] == i
        ]
        end += [int(m.durations[i] + rest[n]) for _, n in neighbours(i) if n is not None]
        if p + 1 < m.first[machine + 1]:
            n = int(new[p + 1])
            end.append(int(m.durations[i]) + tails.get(n, int(rest[n])))
        tails[i] = max(end)
    return max(heads[i] + tails[i] for i in heads)
