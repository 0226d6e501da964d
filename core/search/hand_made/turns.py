"""Forward and backward passes in a given order; weight passes where devices would wait.

A hand-made schedule runs weight passes where that suits the times and the memory that it was made
for. Nothing waits for a weight pass, so at other times, or with less memory, the rest of its order
may still be good once they are put anew. ``improving.filling`` does that for each of several
budgets of waiting; here one list schedule does it, whatever the size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

import numpy as np

from parplan.pipelines.pipeline import Order, Pass, PassKind, passes_of
from parplan.scheduling.list_scheduler import Deadlock, arcs_of
from parplan.scheduling.priorities import PriorityRule, priorities, waiting_kinds
from parplan.scheduling.tables import Real, Rows, Tables
from parplan.search.placing.evaluation import Candidate, Prepared, as_candidate, pass_tasks

FILLING = PriorityRule(offsets={"weight": 1e6}, patient=frozenset({"weight"}))
"""Weight passes run where nothing else can, and not where that would hold up what is to come."""

WHOLE = 1 + 1e-9
"""A device's room: all of it, and what the sum of many shares may be off."""


def schedule_by_turns(prepared: Prepared, orders: Sequence[Order]) -> Candidate | None:
    """Return the schedule with each device's order of forward and backward passes.

    Forward passes wait for later backward passes where memory needs it. None if it deadlocks.

    Parameters
    ----------
    orders
        Of each device; where weight passes are in it does not matter.
    """
    tasks, shares = pass_tasks(prepared), memory_shares(prepared.scheduler.tables)
    forwards = {
        (stage, k): float(shares[of].sum())
        for (stage, kind), row in tasks.items()
        if kind is PassKind.F
        for k, of in enumerate(row)
    }
    turns = [within_room(order, forwards) for order in orders]
    rows = [
        [
            task
            for one in turn
            if (one.stage, one.kind) in tasks
            for task in tasks[one.stage, one.kind][one.microbatch]
        ]
        for turn in turns
    ]
    arcs = chain.from_iterable(map(pairwise, rows))
    urgency = priorities(prepared.profile, FILLING, prepared.chunk_of)
    patient = waiting_kinds(prepared.profile, FILLING)
    starts = prepared.scheduler.run(urgency, arcs_of(arcs), patient)
    return None if isinstance(starts, Deadlock) else as_candidate(prepared, starts)


def within_room(order: Order, shares: Mapping[tuple[int, int], float]) -> list[Pass]:
    """Return forward and backward passes; forwards wait until they fit, and keep their order.

    What a forward holds counts as given back by its backward: a weight pass can follow at once.

    Parameters
    ----------
    shares
        For (stage, microbatch), the part of its device's room that a forward holds.
    """
    turns: list[Pass] = []
    late: deque[Pass] = deque()
    held = 0.0
    for one in passes_of(order):
        if one.kind is PassKind.W:
            continue
        if one.kind is PassKind.F:
            late.append(one)
        else:
            turns.append(one)
            held -= shares.get((one.stage, one.microbatch), 0.0)
        while late and held + shares.get((late[0].stage, late[0].microbatch), 0.0) <= WHOLE:
            first = late.popleft()
            turns.append(first)
            held += shares.get((first.stage, first.microbatch), 0.0)
    return [*turns, *late]


def memory_shares(tables: Tables) -> Real:
    """Return which part of the room of its resources each activity holds beyond its end.

    The sum over resources; room is what is left of a capacity before the first activity.
    """
    room = np.maximum(tables.limits - tables.levels, np.finfo(float).tiny)
    return _parts(tables.needs, room) - _parts(tables.ends, room)


def _parts(rows: Rows, room: Real) -> Real:
    owners = np.repeat(np.arange(len(rows.first) - 1), np.diff(rows.first))
    weights = rows.amount / room[rows.index]
    parts: Real = np.bincount(owners, weights, minlength=len(rows.first) - 1).astype(float)
    return parts
