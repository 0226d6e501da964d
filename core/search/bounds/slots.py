"""The bound of equal slots: what is held fills slots one after the other, in a staggered way."""

from __future__ import annotations

import math

from parplan.search.bounds.forced import Activity
from parplan.search.bounds.memory import Hold, Reach, comparable
from parplan.search.bounds.one_machine import secured


def staggered_bound(holds: list[Hold], machine: list[Activity], reach: Reach, room: float) -> float:
    """Return the bound of holds of one amount that begin, and end, with tasks of one machine.

    With s slots in use, the k-th slot begins its first hold k - 1 first tasks after the first
    slot, and ends its last hold k - 1 last tasks before the last slot does (no two holds share
    their first task or their last). So
    ``s (T - head - tail) >= all holds + s (s - 1) / 2 (shortest first task + shortest last task)``;
    the least over s counts.
    """
    known = {a.task for a in machine}
    mine = [h for h in holds if h.first in known and h.last in known]
    ends = [(h.first, h.last) for h in mine if h.first is not None and h.last is not None]
    if not all(comparable(reach.windows.instance, first, last) for first, last in ends):
        return 0.0  # a task that runs once per step ends many holds at once
    firsts, lasts = {first for first, _ in ends}, {last for _, last in ends}
    amounts = {h.amount for h in mine}
    if len(amounts) != 1 or not len(firsts) == len(lasts) == len(mine):
        return 0.0
    slots = math.floor(room / amounts.pop() + 1e-9)
    if slots < 1:
        return 0.0
    length = sum(h.activity.ticks * h.activity.count for h in mine)
    count = sum(h.activity.count for h in mine)
    stagger = min(reach.least_ticks(task[0], reach.group(task)) for task in firsts)
    stagger += min(reach.least_ticks(task[0], reach.group(task)) for task in lasts)
    head = min(h.activity.head for h in mine)
    tail = min(h.activity.tail for h in mine)
    used = range(1, min(slots, count) + 1)
    spread = min(length / s + (s - 1) / 2 * stagger for s in used)
    return secured(head + tail + spread, spread)
