"""Tabu search on critical blocks, compiled (Nowicki and Smutnicki 1996; Peng, Lu and Cheng 2015).

Every step takes the move that promises the shortest longest path, even if that is longer than
before. For some steps after it, no move may put back any two nodes as they were, unless it promises
to be better than all before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.critical_blocks.neighbourhood import (
    AROUND,
    UNSAFE,
    find_blocks,
    judge_moves,
    least_steps,
    list_moves,
    measure_block,
    moved,
)
from parplan.search.sequences.kernel import BEYOND, FAR, set_places
from parplan.search.sequences.machines import Machines
from parplan.search.sequences.moves import begin_edit, draw, machine_at
from parplan.search.sequences.ripples import (
    keep,
    measure_again,
    measure_rest,
    take_back,
    time_again,
)
from parplan.system.compiling import compiled, kernel_part, put_into


class Memory(NamedTuple):
    """What a tabu search on a view remembers, and arrays that one step after another uses.

    Attributes
    ----------
    until
        Step up to which each node (row) may not be put before each other one (column).
    step
        Steps done.
    tenure
        How long a move is remembered at least, and by how many steps more at most.
    least
        By how much at least each node starts before whatever follows it directly.
    low, high, at, to, promise, heads, around
        Blocks, their moves with estimates, starts of a segment, and what ``measure_block`` writes.
    starts, rest, place
        Of the current order: starts, longest paths to the end, and places.
    """

    until: Whole
    step: Whole
    tenure: Whole
    least: Whole
    low: Whole
    high: Whole
    at: Whole
    to: Whole
    promise: Whole
    heads: Whole
    around: Whole
    starts: Whole
    rest: Whole
    place: Whole


def make_memory(machines: Machines) -> Memory:
    """Return the memory of a tabu search that has not begun.

    Moves are remembered for 10 + n / m steps, and for up to half as long again, where m machines
    run n nodes each (Zhang et al. 2008).
    """
    nodes = len(machines.durations)
    lengths = np.diff(machines.first)
    shared = lengths[lengths > 1]
    base = 10 + int(shared.mean() / len(shared)) if len(shared) else 10

    def numbers(size: int) -> Whole:
        return np.zeros(size, dtype=np.int64)

    return Memory(
        until=np.zeros((nodes, nodes), dtype=np.int64),
        step=numbers(1),
        tenure=np.array([base, base // 2], dtype=np.int64),
        least=least_steps(machines),
        low=numbers(nodes + 1),
        high=numbers(nodes + 1),
        at=numbers(4 * int(lengths.max(initial=0)) + 1),
        to=numbers(4 * int(lengths.max(initial=0)) + 1),
        promise=numbers(4 * int(lengths.max(initial=0)) + 1),
        heads=numbers(nodes),
        around=np.zeros((nodes, AROUND), dtype=np.int64),
        starts=numbers(nodes),
        rest=numbers(nodes),
        place=numbers(len(machines.visit_machine)),
    )


@kernel_part
def is_tabu(until: Any, step: Any, order: Any, at: Any, to: Any) -> Any:
    """Return whether a move puts back two nodes as they were not long ago."""
    i = order[at]
    if to > at:
        for p in range(at + 1, to + 1):
            if until[order[p], i] > step:
                return True
    else:
        for p in range(to, at):
            if until[i, order[p]] > step:
                return True
    return False


@kernel_part
def remember(t: Any, order: Any, at: Any, to: Any, dice: Any) -> None:
    """Forbid for some steps what a move, not yet made, would undo."""
    until = t.step[0] + t.tenure[0] + draw(dice, t.tenure[1] + 1)
    i = order[at]
    if to > at:
        for p in range(at + 1, to + 1):
            t.until[i, order[p]] = until
    else:
        for p in range(to, at):
            t.until[order[p], i] = until


@kernel_part
def choose(v: Any, r: Any, t: Any, order: Any, dice: Any, least: Any) -> Any:
    """Return the move to make, as (from, to); from is -1 where there is none.

    Where all are tabu, one of them at random.

    Parameters
    ----------
    least
        A move that promises less than this is made even if it is tabu.
    """
    blocks = find_blocks(v, order, t.place, t.starts, t.rest, dice, t.low, t.high)
    best, best_at, best_to, ties = FAR, np.int64(-1), np.int64(-1), 0
    any_at, any_to, safe = np.int64(-1), np.int64(-1), 0
    for b in range(blocks):
        low, high = t.low[b], t.high[b]
        q = machine_at(v, low)
        count = list_moves(v, order, t.starts, t.rest, low, high, t.at, t.to)
        measure_block(
            v,
            r.into_first,
            r.into,
            r.into_delay,
            t.least,
            q,
            order,
            t.place,
            t.starts,
            t.rest,
            low,
            high,
            t.around,
        )
        judge_moves(
            v, t.around, t.least, q, order, t.starts, t.rest, t.at, t.to, count, t.heads, t.promise
        )
        for n in range(count):
            promise, at, to = t.promise[n], t.at[n], t.to[n]
            if promise == UNSAFE:
                continue
            safe += 1
            if draw(dice, safe) == 0:
                any_at, any_to = at, to
            if promise > best or (promise >= least and is_tabu(t.until, t.step[0], order, at, to)):
                continue
            ties = ties + 1 if promise == best else 1
            if draw(dice, ties) == 0:
                best, best_at, best_to = promise, at, to
    if best_at < 0:
        return any_at, any_to
    return best_at, best_to


@kernel_part
def make_move(v: Any, r: Any, edits: Any, t: Any, order: Any, at: Any, to: Any) -> Any:
    """Move a visit and time the order again; return the makespan, or ``BEYOND`` and no change."""
    low, high = min(at, to), max(at, to)
    q = machine_at(v, low)
    edits.used[0] = 0
    begin_edit(edits, order, q, low, high + 1)
    for n in range(high - low + 1):
        t.heads[n] = moved(order, at, to, n)
    for n in range(high - low + 1):
        order[low + n] = t.heads[n]
    set_places(v, order, t.place, q, low, high + 1)
    makespan = time_again(v, r, edits, order, t.place, t.starts, t.rest, FAR)
    if makespan == BEYOND:
        take_back(r, t.starts)
        for p in range(low, high + 1):
            order[p] = edits.before[p - low]
        set_places(v, order, t.place, q, low, high + 1)
        return makespan
    keep(r)
    measure_again(v, r, edits, order, t.place, t.rest)
    return makespan


@compiled
def begin(v: Any, r: Any, t: Any, order: Any, starts: Any) -> Any:
    """Take up an order with its starts; return its makespan. Nothing is tabu any more."""
    for q in range(len(v.first) - 1):
        set_places(v, order, t.place, q, v.first[q], v.first[q + 1])
    put_into(t.starts, starts)
    measure_rest(v, r, order, t.place, t.starts, t.rest)
    t.until[:] = 0
    t.step[0] = 0
    makespan = np.int64(0)
    for i in range(len(starts)):
        makespan = max(makespan, starts[i] + t.rest[i])
    return makespan


@compiled
def search_on(
    v: Any,
    r: Any,
    edits: Any,
    t: Any,
    order: Any,
    best: Any,
    least: Any,
    dice: Any,
    steps: Any,
    left: Any,
    patience: Any,
    target: Any,
) -> Any:
    """Go on for so many steps; ``order`` becomes the last, ``best`` the best order.

    Parameters
    ----------
    least
        Makespan of ``best`` so far.
    left, patience
        How many steps without a better order end the search: of those there are still, and from
        the next better order on.
    target
        Stop at a makespan this small.

    Returns
    -------
    (makespan of ``best``, steps done, ``left`` afterwards)
    """
    done = 0
    while done < steps and left > 0 and least > target:
        done += 1
        left -= 1
        t.step[0] += 1
        at, to = choose(v, r, t, order, dice, least)
        if at < 0:
            return least, done, 0
        remember(t, order, at, to, dice)
        makespan = make_move(v, r, edits, t, order, at, to)
        if 0 <= makespan < least:
            least = makespan
            put_into(best, order)
            left = patience
    return least, done, left
