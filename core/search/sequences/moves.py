"""Moves on orders, compiled: one visit goes elsewhere, or many in one rhythm, or along a chain.

Pipelines are periodic, so the same change for every microbatch of a range often helps where one
alone does not; and what comes earlier on one machine should do so on the next.

Nodes of one kind keep their order, so a move shifts the *letter* of a kind; which node of the kind
stands where follows. Every move leaves the nodes between two positions of a machine the same, in
another order: that segment is what has to be checked, and undone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.sequences.kernel import fits, set_places
from parplan.search.sequences.machines import Machines
from parplan.system.compiling import kernel_part

MOST_SEGMENTS = 16
"""Segments that one move may change."""


class Edits(NamedTuple):
    """The segments that a move has changed, with what stood there; ``used[0]`` of them."""

    used: Whole
    machine: Whole
    low: Whole
    high: Whole
    offset: Whole
    before: Whole


def make_edits(machines: Machines) -> Edits:
    """Return room for the segments of one move."""

    def numbers(size: int) -> Whole:
        return np.zeros(size, dtype=np.int64)

    return Edits(
        used=numbers(1),
        machine=numbers(MOST_SEGMENTS),
        low=numbers(MOST_SEGMENTS),
        high=numbers(MOST_SEGMENTS),
        offset=numbers(MOST_SEGMENTS + 1),
        before=numbers(int(machines.first[-1]) * MOST_SEGMENTS),
    )


def make_dice(seed: int) -> Any:
    """Return the state of a random generator, one number that is not zero."""
    state = (88172645463325252 + 7919 * (seed + 1) * 2654435761) % 2**64 or 1
    return np.array([state], dtype=np.uint64)


@kernel_part
def draw(dice: Any, bound: Any) -> Any:
    """Return a random whole number below ``bound`` (xorshift; Marsaglia 2003)."""
    x = dice[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    dice[0] = x
    return np.int64((x >> np.uint64(11)) % np.uint64(bound))


@kernel_part
def draw_real(dice: Any) -> Any:
    """Return a random number in (0, 1]."""
    return (draw(dice, 2**40) + 1) / 2.0**40


@kernel_part
def draw_step(dice: Any, most: Any) -> Any:
    """Return a small distance: 1 half of the time, 2 half of the rest, up to ``most``."""
    step = 1
    while step < most and draw(dice, 2) == 0:
        step += 1
    return step


@kernel_part
def shift(v: Any, order: Any, at: Any, to: Any) -> None:
    """Move the letter at a position to another one of the same machine."""
    i = order[at]
    kind = v.kinds[i]
    step = 1 if to > at else -1
    hole = at
    for p in range(at + step, to + step, step):
        if v.kinds[order[p]] == kind:
            # The next of the kind is moved in its stead, so that the kind keeps its order.
            order[hole], i = i, order[p]
        else:
            order[hole] = order[p]
        hole = p
    order[to] = i


@kernel_part
def target_of(v: Any, order: Any, q: Any, at: Any, steps: Any) -> Any:
    """Return where a letter arrives that passes ``steps`` letters of other kinds (negative: up)."""
    kind = v.kinds[order[at]]
    p = at
    to = at
    left = abs(steps)
    step = 1 if steps > 0 else -1
    while left > 0:
        p += step
        if p < v.first[q] or p >= v.first[q + 1]:
            break
        if v.kinds[order[p]] != kind:
            left -= 1
            to = p
    return to


@kernel_part
def begin_edit(edits: Any, order: Any, q: Any, low: Any, high: Any) -> Any:
    """Remember positions ``low`` to ``high - 1`` of a machine; False if there is no room."""
    n = edits.used[0]
    if n == MOST_SEGMENTS:
        return False
    edits.machine[n], edits.low[n], edits.high[n] = q, low, high
    start = edits.offset[n]
    for p in range(low, high):
        edits.before[start + p - low] = order[p]
    edits.offset[n + 1] = start + high - low
    edits.used[0] = n + 1
    return True


@kernel_part
def undo(v: Any, edits: Any, order: Any, place: Any, held: Any) -> None:
    """Put back what stood there before the move."""
    for n in range(edits.used[0] - 1, -1, -1):
        q, low, high = edits.machine[n], edits.low[n], edits.high[n]
        for p in range(low, high):
            order[p] = edits.before[edits.offset[n] + p - low]
        set_places(v, order, place, q, low, high)
    for n in range(edits.used[0]):
        fits(v, order, place, held, edits.machine[n], edits.low[n], edits.high[n])


@kernel_part
def insert_in_rhythm(
    v: Any, edits: Any, order: Any, place: Any, held: Any, q: Any, at: Any, steps: Any, repeats: Any
) -> Any:
    """Shift a letter and those of its kind that follow, ``repeats`` in all, by so many others.

    Return 1 if anything moved and the machine still fits, 0 if nothing moved, else -1.
    """
    kind = v.kinds[order[at]]
    last = at
    count = 1
    for p in range(at + 1, v.first[q + 1]):
        if count == repeats:
            break
        if v.kinds[order[p]] == kind:
            last = p
            count += 1
    up = steps < 0
    low = target_of(v, order, q, at, steps) if up else at
    high = (last if up else target_of(v, order, q, last, steps)) + 1
    if high - low < 2 or not begin_edit(edits, order, q, low, high):
        return 0
    moved = 0
    # The foremost goes first, so that none meets another of its kind.
    step = 1 if up else -1
    p = at if up else last
    while at <= p <= last:
        following = p + step
        while at <= following <= last and v.kinds[order[following]] != kind:
            following += step
        to = target_of(v, order, q, p, steps)
        if to != p:
            shift(v, order, p, to)
            moved = 1
        p = following
    if moved == 0:
        edits.used[0] -= 1
        return 0
    set_places(v, order, place, q, low, high)
    return 1 if fits(v, order, place, held, q, low, high) else -1


@kernel_part
def insert_along(
    v: Any,
    edits: Any,
    order: Any,
    place: Any,
    held: Any,
    into_first: Any,
    into: Any,
    dice: Any,
    at: Any,
    steps: Any,
    repeats: Any,
    length: Any,
) -> Any:
    """Shift the letter at a position, and those of nodes that follow one another from there.

    Parameters
    ----------
    into_first, into
        The nodes that follow each node by an arc.
    steps, repeats
        How far each letter goes (negative: up), and how many of its kind go with it.
    length
        How many nodes of the chain.

    Returns
    -------
    Whether anything moved and every machine still fits.
    """
    moved = False
    for n in range(length):
        i = order[at]
        result = insert_in_rhythm(
            v, edits, order, place, held, machine_at(v, at), at, steps, repeats
        )
        if result < 0:
            return False
        moved = moved or result > 0
        fan = into_first[i + 1] - into_first[i]
        if fan == 0 or n + 1 == length:
            break
        i = into[into_first[i] + draw(dice, fan)]
        at = place[v.visit_first[i] + draw(dice, v.visit_first[i + 1] - v.visit_first[i])]
    return moved


@kernel_part
def machine_at(v: Any, p: Any) -> Any:
    """Return the machine that a position belongs to."""
    low, high = 0, len(v.first) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if v.first[middle] <= p:
            low = middle
        else:
            high = middle
    return low
