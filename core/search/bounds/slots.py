"""The bound of equal slots: what is held fills slots one after the other, in a staggered way."""

from __future__ import annotations

import math

from parplan.search.bounds.forced import Activity
from parplan.search.bounds.memory import Hold, Reach, Task


def staggered_bound(holds: list[Hold], machine: list[Activity], reach: Reach, room: float) -> float:
    """Return the bound of holds of one amount that begin, and end, with tasks of one machine.

    With s slots in use, the k-th slot begins its first hold k - 1 first tasks after the first
    slot, and ends its last hold k - 1 last tasks before the last slot does (no two holds share
    their first task or their last). So
    ``s (T - head - tail) >= all holds + s (s - 1) / 2 (shortest first task + shortest last task)``;
    the least over s counts.
    """
    known: set[Task | None] = {a.task for a in machine}
    mine = [h for h in holds if h.first in known and h.last in known]
    amounts = {h.amount for h in mine}
    distinct = all(len({edge(h) for h in mine}) == len(mine) for edge in (_first, _last))
    if len(amounts) != 1 or not distinct:
        return 0.0
    slots = math.floor(room / amounts.pop() + 1e-9)
    if slots < 1:
        return 0.0
    length = sum(h.activity.ticks * h.activity.count for h in mine)
    count = sum(h.activity.count for h in mine)
    stagger = min(reach.least_ticks(h.first[0]) for h in mine)
    stagger += min(reach.least_ticks(h.last[0]) for h in mine)
    head = min(h.activity.head for h in mine)
    tail = min(h.activity.tail for h in mine)
    used = range(1, min(slots, count) + 1)
    return head + tail + min(length / s + (s - 1) / 2 * stagger for s in used)


def _first(hold: Hold) -> Task:
    return hold.first


def _last(hold: Hold) -> Task:
    return hold.last
