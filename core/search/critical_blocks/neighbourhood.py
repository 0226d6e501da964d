"""Moves that can shorten a critical path, compiled: insertions at the ends of its blocks.

A block is a run of visits to one machine that follow one another on a longest path. As long as the
first and the last of every block stay what they are, the path stays as long; so only moves count
that put another visit at an end of a block: any visit of the block to its front or to its back, or
its first or last visit further inside (neighbourhood N7 of Zhang et al. 2007, which contains N6 of
Balas and Vazacopoulos 1998 and N5 of Nowicki and Smutnicki 1996).

Nodes may follow and visit as many others as they like; in a job shop they are operations.
``plain`` is the twin that this is held against.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.sequences.kernel import FAR, place_of
from parplan.search.sequences.machines import Flags, Machines
from parplan.search.sequences.moves import draw
from parplan.search.sequences.ripples import can_ripple
from parplan.system.compiling import kernel_part

UNSAFE = -1
"""What is written in place of an estimate where a move may make an order wait for itself."""

AROUND = 8
"""Figures of each node that ``measure_block`` writes."""


class Skeleton(NamedTuple):
    """The arrays of ``Machines`` that are read here: fewer arrays compile in less time."""

    durations: Whole
    releases: Whole
    tails: Whole
    counted: Flags
    arc_first: Whole
    arc_from: Whole
    arc_delay: Whole
    visit_first: Whole
    visit_machine: Whole
    first: Whole


def skeleton_of(machines: Machines) -> Skeleton:
    """Return what is read here of a view's arrays."""
    return Skeleton(*(getattr(machines, name) for name in Skeleton._fields))


def has_blocks(machines: Machines) -> bool:
    """Return whether the moves of this module serve a view.

    Everything takes time, runs where it visits and waits for what takes time; orders alone decide
    (no memory binds), and no two nodes are of one kind, so that any two may change places.
    """
    free = len(machines.levels) == 0 and len(machines.members) == len(machines.member_first) - 1
    return free and can_ripple(machines) and bool((machines.arc_delay > 0).all())


def least_steps(machines: Machines) -> Whole:
    """Return by how much at least each node starts before whatever follows it directly."""
    least = machines.durations.copy()
    np.minimum.at(least, machines.arc_from, machines.arc_delay)
    return least


@kernel_part
def find_blocks(
    v: Any, order: Any, place: Any, starts: Any, rest: Any, dice: Any, low: Any, high: Any
) -> Any:
    """Write the first and last position of each block of a critical path; return how many.

    The path is drawn at random among those there are, and is followed from its end.

    Parameters
    ----------
    rest
        Longest path from the start of each node to the end of all.
    low, high
        What is written; with room for as many blocks as there are nodes.
    """
    i = np.int64(-1)
    seen = 0
    makespan = np.int64(0)
    for n in range(len(v.durations)):
        makespan = max(makespan, starts[n] + rest[n])
    for n in range(len(v.durations)):
        if v.counted[n] and starts[n] + v.durations[n] == makespan:
            seen += 1
            if draw(dice, seen) == 0:
                i = np.int64(n)
    count = 0
    while i >= 0:
        following = np.int64(-1)
        at = np.int64(-1)
        seen = 0
        for k in range(v.arc_first[i], v.arc_first[i + 1]):
            if starts[v.arc_from[k]] + v.arc_delay[k] == starts[i]:
                seen += 1
                if draw(dice, seen) == 0:
                    following, at = v.arc_from[k], np.int64(-1)
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            p = place[k]
            if p > v.first[v.visit_machine[k]]:
                n = order[p - 1]
                if starts[n] + v.durations[n] == starts[i]:
                    seen += 1
                    if draw(dice, seen) == 0:
                        following, at = n, p
        if at >= 0:
            if count > 0 and low[count - 1] == at:
                low[count - 1] = at - 1
            else:
                low[count], high[count] = at - 1, at
                count += 1
        i = following
    return count


@kernel_part
def list_moves(
    v: Any, order: Any, starts: Any, rest: Any, low: Any, high: Any, at: Any, to: Any
) -> Any:
    """Write the moves of a block between two positions, from where to where; return how many.

    A block that begins at time zero cannot be shortened at its front, nor one at its back after
    which nothing follows.

    Parameters
    ----------
    at, to
        What is written; with room for four times as many moves as the block has visits.
    """
    count = 0
    if starts[order[low]] > 0:
        for p in range(low + 1, high + 1):
            at[count], to[count] = p, low
            count += 1
        for p in range(low + 2, high):
            at[count], to[count] = low, p
            count += 1
    if rest[order[high]] > v.durations[order[high]]:
        for p in range(low, high):
            at[count], to[count] = p, high
            count += 1
        for p in range(low + 1, high - 1):
            at[count], to[count] = high, p
            count += 1
    return count


@kernel_part
def measure_block(
    v: Any,
    into_first: Any,
    into: Any,
    into_delay: Any,
    least: Any,
    q: Any,
    order: Any,
    place: Any,
    starts: Any,
    rest: Any,
    low: Any,
    high: Any,
    around: Any,
) -> Any:
    """Write for each node of a block what does not depend on the order of its machine.

    Parameters
    ----------
    q, low, high
        Machine of the block, and its first and last position.
    around
        What is written, a row for each node. When what is elsewhere lets it start; the longest path
        from its start to the end that leaves the machine. Of what follows it elsewhere: the first
        instant by which any of it has led on, the longest path from there, and the first place that
        any of it has on this machine. Of what it follows elsewhere: the last start, the shortest
        path to the end from there, and the last place on this machine.
    """
    for p in range(low, high + 1):
        i = order[p]
        row = around[i]
        row[0] = v.releases[i]
        row[1] = v.durations[i] if v.counted[i] else 0
        row[2], row[3], row[4] = FAR, -FAR, FAR
        row[5], row[6], row[7] = -FAR, FAR, -1
        for k in range(v.arc_first[i], v.arc_first[i + 1]):
            n = v.arc_from[k]
            _follow(row, n, v.arc_delay[k], place_of(v, place, n, q), starts, rest)
        for k in range(into_first[i], into_first[i + 1]):
            n = into[k]
            _lead(row, n, into_delay[k], place_of(v, place, n, q), starts, rest, least)
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            other, at = v.visit_machine[k], place[k]
            if other == q:
                continue
            if at > v.first[other]:
                n = order[at - 1]
                _follow(row, n, v.durations[n], place_of(v, place, n, q), starts, rest)
            if at + 1 < v.first[other + 1]:
                n = order[at + 1]
                _lead(row, n, v.durations[i], place_of(v, place, n, q), starts, rest, least)


@kernel_part
def _follow(row: Any, n: Any, delay: Any, at: Any, starts: Any, rest: Any) -> None:
    """Take into a row of ``measure_block`` that it starts so long after ``n``, which is ``at``."""
    row[0] = max(row[0], starts[n] + delay)
    if at < 0:
        row[5], row[6] = max(row[5], starts[n]), min(row[6], rest[n])
    else:
        row[7] = max(row[7], at)


@kernel_part
def _lead(row: Any, n: Any, delay: Any, at: Any, starts: Any, rest: Any, least: Any) -> None:
    """Take into a row of ``measure_block`` that ``n``, which is ``at``, starts so long after it."""
    row[1] = max(row[1], delay + rest[n])
    if at < 0:
        row[2], row[3] = min(row[2], starts[n] + least[n]), max(row[3], rest[n] - least[n])
    else:
        row[4] = min(row[4], at)


@kernel_part
def is_safe(around: Any, least: Any, order: Any, starts: Any, rest: Any, at: Any, to: Any) -> Any:
    """Return whether a move surely leaves an order that does not wait for itself.

    What goes behind another node must have no follower elsewhere from which a path leads there,
    and conversely. A path from one node to another makes the second start later, and the first
    begin earlier before the end, by its length; so where either is not so, there is none (Balas and
    Vazacopoulos 1998, propositions 2.2 and 2.3). A follower that visits the machine, too, has its
    place there, which the node must not pass.
    """
    row, end = around[order[at]], order[to]
    if to > at:
        return to < row[4] and (starts[end] < row[2] or row[3] < rest[end])
    return to > row[7] and (row[5] < starts[end] + least[end] or rest[end] - least[end] < row[6])


@kernel_part
def estimate(
    around: Any, durations: Any, order: Any, free: Any, left: Any, at: Any, to: Any, heads: Any
) -> Any:
    """Return the longest path through what a move changes, as far as that is known.

    Starts and paths of all others count as they were (Taillard 1994, Balas and Vazacopoulos 1998);
    for two neighbours in a job shop this is exact.

    Parameters
    ----------
    free, left
        When the machine is free for the segment; and the longest path from what comes behind it on
        the machine to the end, 0 if nothing does.
    heads
        Room for the starts of a segment.
    """
    count = abs(to - at) + 1
    for n in range(count):
        i = moved(order, at, to, n)
        heads[n] = max(around[i, 0], free)
        free = heads[n] + durations[i]
    longest = np.int64(0)
    for n in range(count - 1, -1, -1):
        i = moved(order, at, to, n)
        left = max(around[i, 1], durations[i] + left) if left > 0 else around[i, 1]
        longest = max(longest, heads[n] + left)
    return longest


@kernel_part
def moved(order: Any, at: Any, to: Any, n: Any) -> Any:
    """Return what stands at the n-th position of the segment that a move changes, after it."""
    if to > at:
        return order[at + n + 1] if n < to - at else order[at]
    return order[to + n - 1] if n > 0 else order[at]


@kernel_part
def judge_moves(
    v: Any,
    around: Any,
    least: Any,
    q: Any,
    order: Any,
    starts: Any,
    rest: Any,
    at: Any,
    to: Any,
    count: Any,
    heads: Any,
    promise: Any,
) -> None:
    """Write the estimate of each of so many moves of a block; ``UNSAFE`` where it may not be."""
    for n in range(count):
        if not is_safe(around, least, order, starts, rest, at[n], to[n]):
            promise[n] = UNSAFE
            continue
        low, high = min(at[n], to[n]), max(at[n], to[n])
        free, left = np.int64(0), np.int64(0)
        if low > v.first[q]:
            free = starts[order[low - 1]] + v.durations[order[low - 1]]
        if high + 1 < v.first[q + 1]:
            left = rest[order[high + 1]]
        promise[n] = estimate(around, v.durations, order, free, left, at[n], to[n], heads)
