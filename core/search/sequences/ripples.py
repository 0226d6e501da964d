"""Times after a change, compiled: only what moves is timed again.

Where a few visits change places, most starts stay as they are. A change goes from node to node like
a ripple, earliest first, and ends where a node starts when it did before. The longest path from
each node to the end, under the order before the change, tells of most bad moves after a few nodes.

This is for orders whose nodes all take time and whose machines only run what visits them
(``can_ripple``), and for the makespan; ``kernel.propagate`` is for all, and is what this is held
against.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.sequences.kernel import BEYOND
from parplan.search.sequences.machines import Machines
from parplan.system.compiling import kernel_part

MOST_ROUNDS = 8
"""Changes per node after which an order is taken to wait for itself."""


class Ripples(NamedTuple):
    """Followers of each node, and arrays that one change after another uses.

    Attributes
    ----------
    into_first, into, into_delay
        The nodes that follow each node by an arc, as rows, and how long after its start.
    heap, keys, queued
        Nodes to be timed, the least key on top; and of each node its key and whether it is there.
    changed, was, touched
        Nodes that have changed, what their starts were, and of each node whether it has changed.
    total
        How many have changed.
    """

    into_first: Whole
    into: Whole
    into_delay: Whole
    heap: Whole
    keys: Whole
    queued: Whole
    changed: Whole
    was: Whole
    touched: Whole
    total: Whole


def can_ripple(machines: Machines) -> bool:
    """Return whether all nodes take time and every visit runs: an order with a cycle grows then."""
    return not machines.mixed.any() and bool((machines.durations > 0).all())


def make_ripples(machines: Machines) -> Ripples:
    """Return followers and room for the changes of a view."""
    nodes = len(machines.durations)

    def numbers(size: int) -> Whole:
        return np.zeros(size, dtype=np.int64)

    return Ripples(
        *followers(machines),
        heap=numbers(nodes + 1),
        keys=numbers(nodes),
        queued=numbers(nodes),
        changed=numbers(nodes),
        was=numbers(nodes),
        touched=numbers(nodes),
        total=numbers(1),
    )


def followers(machines: Machines) -> tuple[Whole, Whole, Whole]:
    """Return what follows each node by an arc, as rows: where each begins, nodes and delays."""
    rows: list[list[tuple[int, int]]] = [[] for _ in machines.durations]
    for i in range(len(rows)):
        for k in range(machines.arc_first[i], machines.arc_first[i + 1]):
            rows[machines.arc_from[k]].append((i, int(machines.arc_delay[k])))
    flat = np.array(list(chain.from_iterable(rows)), dtype=np.int64).reshape(-1, 2)
    first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return first, np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1])


@kernel_part
def push(r: Any, size: Any, i: Any, key: Any) -> Any:
    """Queue a node that is not queued; return how many are."""
    r.keys[i] = key
    r.queued[i] = 1
    at = size
    while at > 0:
        above = (at - 1) // 2
        if r.keys[r.heap[above]] <= key:
            break
        r.heap[at] = r.heap[above]
        at = above
    r.heap[at] = i
    return size + 1


@kernel_part
def pop(r: Any, size: Any) -> Any:
    """Return the node with the least key, which is queued no more."""
    top = r.heap[0]
    r.queued[top] = 0
    last = r.heap[size - 1]
    count = size - 1
    key = r.keys[last]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and r.keys[r.heap[below + 1]] < r.keys[r.heap[below]]:
            below += 1
        if r.keys[r.heap[below]] >= key:
            break
        r.heap[at] = r.heap[below]
        at = below
    r.heap[at] = last
    return top


@kernel_part
def earliest(v: Any, order: Any, place: Any, starts: Any, i: Any) -> Any:
    """Return when a node can start after those before it."""
    begin = v.releases[i]
    for k in range(v.arc_first[i], v.arc_first[i + 1]):
        begin = max(begin, starts[v.arc_from[k]] + v.arc_delay[k])
    for k in range(v.visit_first[i], v.visit_first[i + 1]):
        p = place[k]
        if p > v.first[v.visit_machine[k]]:
            n = order[p - 1]
            begin = max(begin, starts[n] + v.durations[n])
    return begin


@kernel_part
def time_again(
    v: Any, r: Any, edits: Any, order: Any, place: Any, starts: Any, rest: Any, limit: Any
) -> Any:
    """Change starts to those of an order that has just been edited; return the makespan.

    Parameters
    ----------
    starts
        Of the order before the edits; ``take_back`` puts them back.
    rest
        Longest path from the start of each node to the end of all under the order before.
    limit
        Return ``BEYOND`` when the makespan must be greater, or the order waits for itself. Starts
        are whole only otherwise.
    """
    size = 0
    finish = np.int64(-1)
    r.total[0] = 0
    for n in range(edits.used[0]):
        q, low, high = edits.machine[n], edits.low[n], edits.high[n]
        key = np.int64(0)
        for p in range(low, high):
            i = order[p]
            finish = max(finish, starts[i])
            # Keys rise along the machine, and from what comes before by an arc.
            key = max(key, starts[edits.before[edits.offset[n] + p - low]])
            for k in range(v.arc_first[i], v.arc_first[i + 1]):
                early = v.arc_from[k]
                key = max(key, r.keys[early] if r.queued[early] == 1 else starts[early])
            if r.queued[i] == 0:
                size = push(r, size, i, key)
        if high < v.first[q + 1] and r.queued[order[high]] == 0:
            size = push(r, size, order[high], max(key, starts[order[high]]))
    left = MOST_ROUNDS * len(v.durations)
    while size > 0:
        i = pop(r, size)
        size -= 1
        begin = earliest(v, order, place, starts, i)
        if begin == starts[i]:
            continue
        if r.touched[i] == 0:
            r.touched[i] = 1
            r.was[i] = starts[i]
            r.changed[r.total[0]] = i
            r.total[0] += 1
        starts[i] = begin
        left -= 1
        # What started after all that was edited is followed by the same as before.
        reach = begin + (rest[i] if r.was[i] > finish else v.tails[i])
        if reach > limit or left == 0:
            for n in range(size):
                r.queued[r.heap[n]] = 0
            return np.int64(BEYOND)
        for k in range(r.into_first[i], r.into_first[i + 1]):
            after = r.into[k]
            if r.queued[after] == 0:
                size = push(r, size, after, max(begin, starts[after]))
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            p = place[k] + 1
            if p < v.first[v.visit_machine[k] + 1] and r.queued[order[p]] == 0:
                size = push(r, size, order[p], max(begin, starts[order[p]]))
    return ended(v, order, starts)


@kernel_part
def ended(v: Any, order: Any, starts: Any) -> Any:
    """Return the makespan: on every machine, the last that counts ends last."""
    makespan = np.int64(0)
    for q in range(len(v.first) - 1):
        for p in range(v.first[q + 1] - 1, v.first[q] - 1, -1):
            if v.counted[order[p]]:
                makespan = max(makespan, starts[order[p]] + v.durations[order[p]])
                break
    return makespan


@kernel_part
def keep(r: Any) -> None:
    """Accept what has changed."""
    for n in range(r.total[0]):
        r.touched[r.changed[n]] = 0
    r.total[0] = 0


@kernel_part
def take_back(r: Any, starts: Any) -> None:
    """Put back the starts that have changed."""
    for n in range(r.total[0]):
        i = r.changed[n]
        starts[i] = r.was[i]
        r.touched[i] = 0
    r.total[0] = 0


@kernel_part
def measure_rest(v: Any, r: Any, order: Any, place: Any, starts: Any, rest: Any) -> None:
    """Write the longest path from the start of each node to the end of all under an order."""
    size = 0
    for i in range(len(v.durations)):
        rest[i] = 0
        size = push(r, size, np.int64(i), -starts[i])
    _spread(v, r, order, place, rest, size)


@kernel_part
def measure_again(v: Any, r: Any, edits: Any, order: Any, place: Any, rest: Any) -> None:
    """Change the longest paths to the end to those of an order that has just been edited."""
    size = 0
    for n in range(edits.used[0]):
        q, low, high = edits.machine[n], edits.low[n], edits.high[n]
        for p in range(high - 1, low - 1, -1):
            if r.queued[order[p]] == 0:
                size = push(r, size, order[p], rest[edits.before[edits.offset[n] + p - low]])
        if low > v.first[q] and r.queued[order[low - 1]] == 0:
            size = push(r, size, order[low - 1], rest[order[low - 1]])
    _spread(v, r, order, place, rest, size)


@kernel_part
def _spread(v: Any, r: Any, order: Any, place: Any, rest: Any, size: Any) -> None:
    """Measure the nodes that are queued, and whatever changes with them."""
    while size > 0:
        i = pop(r, size)
        size -= 1
        found = v.durations[i] if v.counted[i] else np.int64(0)
        for k in range(r.into_first[i], r.into_first[i + 1]):
            found = max(found, r.into_delay[k] + rest[r.into[k]])
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            p = place[k] + 1
            if p < v.first[v.visit_machine[k] + 1]:
                found = max(found, v.durations[i] + rest[order[p]])
        if found == rest[i]:
            continue
        rest[i] = found
        for k in range(v.arc_first[i], v.arc_first[i + 1]):
            early = v.arc_from[k]
            if r.queued[early] == 0:
                size = push(r, size, early, max(found, rest[early]))
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            p = place[k] - 1
            if p >= v.first[v.visit_machine[k]] and r.queued[order[p]] == 0:
                size = push(r, size, order[p], max(found, rest[order[p]]))
