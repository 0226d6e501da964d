"""Bounds from what one machine can do before the first hold ends, and after the last one begins."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.forced import Activity
from parplan.search.bounds.instance import Array
from parplan.search.bounds.memory import Hold, Reach, Task, comparable
from parplan.search.bounds.one_machine import secured
from parplan.search.bounds.paths import Windows

TASKS = 400
"""Most kinds of tasks on one machine; beyond it this bound is left out."""


@frozen(eq=False)
class Side:
    """One machine and its holds, in one direction of time (backward: heads and tails change).

    Attributes
    ----------
    heads, tails, ticks, counts
        Of each kind of task on the machine, ``(X,)``.
    members
        Whether the holds of chain g have begun wherever a task of kind x has, ``(G, X)``.
    chain, ends, amounts
        Of each hold: its chain, the earliest time at which it can be over, what it holds.
    """

    heads: Array
    tails: Array
    ticks: Array
    counts: Array
    members: NDArray[np.bool_]
    chain: NDArray[np.int64]
    ends: Array
    amounts: Array


def warm_up_bound(
    windows: Windows, reach: Reach, holds: list[Hold], tasks: list[Activity], room: float
) -> float:
    """Return the better of the warm-up and the cool-down bound of one machine.

    Before time t, a chain can have begun for at most ``room / amount`` microbatches if none of its
    holds can be over by then. All other work of the machine comes after t.
    """
    known = {a.task for a in tasks}
    if not room > 0 or len(tasks) > TASKS:
        return 0.0
    mine = [
        (h.first, h.last, h.amount)
        for h in holds
        if h.first is not None and h.last is not None and h.first != h.last
        if h.first in known and h.last in known
        if comparable(windows.instance, h.first, h.last)
    ]
    if not mine:
        return 0.0
    sides = (_side(windows, reach, mine, tasks, back) for back in (False, True))
    return max(_bound(side, room) for side in sides)


def _side(
    windows: Windows,
    reach: Reach,
    holds: list[tuple[Task, Task, float]],
    tasks: list[Activity],
    backward: bool,
) -> Side:
    """Return the arrays of one direction."""
    heads, tails = np.array([a.head for a in tasks]), np.array([a.tail for a in tasks])
    far = windows.tail if backward else windows.head
    anchors, ends = [], []
    for first_task, last_task, _ in holds:
        anchor, other = (last_task, first_task) if backward else (first_task, last_task)
        anchors.append(anchor)
        own = reach.least_ticks(other[0], reach.group(other))
        ends.append(float(far[other[0]][other[1]]) + own)
    chains = list(dict.fromkeys(anchors))

    def together(anchor: Task, task: Task | None) -> bool:
        if task is None or not comparable(windows.instance, anchor, task):
            return False
        first, last = (task[0], anchor[0]) if backward else (anchor[0], task[0])
        return last in reach.lengths(first, reach.group(anchor, task))

    return Side(
        tails if backward else heads,
        heads if backward else tails,
        np.array([a.ticks for a in tasks]),
        np.array([a.count for a in tasks], dtype=float),
        np.array([[together(anchor, a.task) for a in tasks] for anchor in chains]),
        np.array([chains.index(anchor) for anchor in anchors], dtype=np.int64),
        np.array(ends),
        np.array([amount for _, _, amount in holds]),
    )


def _bound(side: Side, room: float) -> float:
    """Return the largest ``t + work that must come after t + least tail`` over all t."""
    total, tail = float(side.ticks @ side.counts), float(side.tails.min())
    times = np.unique(np.concatenate([side.heads, side.ends]))
    best = max(float(t) + total - _early(side, float(t), room) for t in times) + tail
    return secured(best, [best], side.ticks)


def _early(side: Side, t: float, room: float) -> float:
    """Return the most work that can be done before t: a fractional knapsack over chains."""
    weights = np.bincount(
        side.chain, np.where(side.ends >= t, side.amounts, 0.0), minlength=len(side.members)
    )
    early = np.where(side.heads < t, side.ticks, 0.0)
    # Each kind of task is counted with the chain in which its microbatches hold the most.
    held = side.members * weights[:, None]
    best = held.argmax(axis=0)
    bound_to = held.max(axis=0) > 0
    done = float((early * side.counts)[~bound_to].sum())
    value = np.bincount(best[bound_to], early[bound_to], minlength=len(weights))
    most = np.zeros(len(weights))
    np.maximum.at(most, best[bound_to], side.counts[bound_to])
    left = room
    for g in sorted(np.flatnonzero(value), key=lambda g: -value[g] / weights[g]):
        number = min(left / weights[g], most[g])
        done += number * float(value[g])
        left -= number * weights[g]
    return done
