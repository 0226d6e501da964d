"""One machine kept exactly: every order of its tasks that memory and precedence leave.

What a machine has done is told by how many tasks of each of its streams it has ended: its *state*.
Memory depends on the state alone, and so does which tasks may come next. Given a window for the
start of each task, two passes over the states find the earliest time at which the machine can be
free in each, and the latest time at which it must be; what fits no order leaves the windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.lanes import Lanes
from parplan.search.bounds.streams import EVER, Index
from parplan.system.compiling import compiled

ROUNDING = 1e-9
"""Part of a capacity by which sums of fractions may miss it."""


@frozen(eq=False)
class States:
    """The states of one machine of k lanes, N of them, each before those that can follow.

    Attributes
    ----------
    done
        How many tasks of each lane have ended, ``(N, k)``.
    after
        The state after one more task of each lane; -1 if there is none, ``(N, k)``.
    """

    lanes: Lanes
    done: NDArray[np.int32]
    after: NDArray[np.int32]


@frozen(eq=False)
class Slack:
    """What one pass found: ``free`` and ``due`` of each state, ``(N,)``, and what became of it.

    Attributes
    ----------
    free, due
        Earliest time at which the machine can be done with a state, latest at which it must be.
    feasible, tighter
        Whether any order fits the windows, and whether a window shrank.
    """

    free: Index
    due: Index
    feasible: bool
    tighter: bool


def find_states(lanes: Lanes, most: int) -> States | None:
    """Return the states of a machine.

    None if there are more than ``most``, or if no order of the tasks fits the memory.
    """
    counts, width = lanes.counts, len(lanes.counts)
    if np.prod(counts + 1, dtype=float) >= 2**62:
        return None
    factor = np.concatenate([[1], np.cumprod(counts[:-1] + 1)]).astype(np.int64)
    level = np.zeros((1, width), dtype=np.int64)
    done, after, total = [level], [], 1
    for _ in range(int(counts.sum())):
        fits = _fits(lanes, level)
        keys = level @ factor
        following = [keys[fits[:, i]] + factor[i] for i in range(width)]
        distinct = np.unique(np.concatenate(following))
        if not len(distinct) or total + len(distinct) > most:
            return None
        row = np.full(level.shape, -1, dtype=np.int32)
        for i in range(width):
            row[fits[:, i], i] = total + np.searchsorted(distinct, following[i])
        after.append(row)
        total += len(distinct)
        level = distinct[:, None] // factor % (counts + 1)
        done.append(level)
    after.append(np.full((1, width), -1, dtype=np.int32))
    return States(lanes, np.concatenate(done).astype(np.int32), np.concatenate(after))


def _fits(lanes: Lanes, level: Index) -> NDArray[np.bool_]:
    """Return which lanes may go on in some states, ``(states, k)``."""
    fits = level < lanes.counts
    for some, j in lanes.before:
        fits[:, j] &= level[:, list(some)].sum(axis=1) > level[:, j]
    for room in lanes.rooms:
        held = (level @ (room.begun - room.ended))[:, None] + room.begun + room.running
        fits &= held <= room.capacity + ROUNDING * abs(room.capacity)
    return fits


def kept(states: States, slack: Slack) -> States:
    """Return the states that some order fitting the windows goes through."""
    return only(states, slack.free <= slack.due)


def only(states: States, alive: NDArray[np.bool_]) -> States:
    """Return some of the states, ``(N,)``, and the ways between them."""
    if alive.all():
        return states
    number = np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32)
    number = np.append(number, np.int32(-1))  # -1 stays -1
    return States(states.lanes, states.done[alive], number[states.after[alive]])


def tighten(states: States, earliest: Index, latest: Index) -> Slack:
    """Shrink the windows of a machine's tasks, in place, to what some order of them needs.

    The k-th start of a lane of several streams lies between the k-th smallest earliest and the
    k-th smallest latest start of its tasks; these windows are not shrunk.

    Parameters
    ----------
    earliest, latest
        Window of the start of each task of all streams, ``(E,)``.
    """
    free = np.empty(len(states.done), dtype=np.int64)
    due = np.empty(len(states.done), dtype=np.int64)
    lanes = states.lanes
    first = np.cumsum(lanes.counts) - lanes.counts
    alone = lanes.alone
    low, high = earliest[lanes.tasks], latest[lanes.tasks]
    for lane in np.flatnonzero(~alone):
        own = slice(first[lane], first[lane] + lanes.counts[lane])
        low[own], high[own] = np.sort(low[own]), np.sort(high[own])
    result = _tighten(
        states.done, states.after, lanes.ticks, lanes.counts, first, alone, low, high, free, due
    )
    if result > 0:
        shrunk = np.repeat(alone, lanes.counts)
        tasks = lanes.tasks[shrunk]
        earliest[tasks], latest[tasks] = low[shrunk], high[shrunk]
    return Slack(free, due, result >= 0, result > 0)


@compiled
def _tighten(
    done: Any,
    after: Any,
    ticks: Any,
    counts: Any,
    first: Any,
    alone: Any,
    earliest: Any,
    latest: Any,
    free: Any,
    due: Any,
) -> int:
    """Return -1 if no order fits, 1 if a window shrank, else 0."""
    states, width = done.shape
    free[:] = EVER
    due[:] = -EVER
    free[0] = 0
    due[states - 1] = EVER
    for s in range(states):
        if free[s] == EVER:
            continue
        for i in range(width):
            t = after[s, i]
            if t >= 0:
                x = first[i] + done[s, i]
                start = max(free[s], earliest[x])
                if start <= latest[x]:
                    free[t] = min(free[t], start + ticks[i])
    if free[states - 1] == EVER:
        return -1
    low = np.full(len(earliest), EVER)
    high = np.full(len(earliest), -EVER)
    for s in range(states - 1, -1, -1):
        if free[s] == EVER:
            continue
        for i in range(width):
            t = after[s, i]
            if t >= 0:
                x = first[i] + done[s, i]
                start, end = max(free[s], earliest[x]), min(due[t] - ticks[i], latest[x])
                if start <= end:
                    due[s] = max(due[s], end)
                    low[x] = min(low[x], start)
                    high[x] = max(high[x], end)
    changed = 0
    for i in range(width):
        for x in range(first[i], first[i] + counts[i]):
            if low[x] > high[x]:
                return -1
            if alone[i]:
                if low[x] != earliest[x] or high[x] != latest[x]:
                    changed = 1
                earliest[x], latest[x] = low[x], high[x]
    return changed
