"""Weight passes put anew: where a device waits or lacks memory, all else in a given order.

A weight pass gives memory back and nothing waits for it, so it may run at any time after its
backward pass. Zero bubble schedules live from that (Qi et al., ICLR 2024, section 3.1). How long a
device may wait in all is a budget: where the longest span counts, a device that waits less than
the most constrained one loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from parplan import clock
from parplan.pipelines.pipeline import Pass, PassKind
from parplan.scheduling.tables import Whole
from parplan.search.placing.evaluation import Candidate, Prepared, pass_tasks
from parplan.search.sequences.annealing import Annealer
from parplan.search.sequences.machines import Flags, Machines, SequenceView

BUDGETS = (8.0, 4.0, 2.0, 16.0, 32.0, 1.0, 0.5, 0.0)
"""How long a machine may wait in all, in mean durations."""

SLOPES = (1.0, 0.9, 0.5, 0.0)
"""Where warm-ups lie between those that hold no more than 1F1B (0) and those that fill memory."""


PLACEMENTS = 3
STARTS = 4
"""Placements whose weight passes are put anew, and how many orders of each."""


def with_weights_filled(
    candidates: Sequence[Candidate], deadline: float, target: int = 0
) -> Iterator[Candidate]:
    """Yield better and better candidates with the placements and orders of the best ones.

    Parameters
    ----------
    deadline
        On ``parplan.clock``.
    target
        Stop at a figure this small, in ticks.
    """
    best = min((c.figure for c in candidates), default=0)
    groups: dict[object, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: c.figure):
        prepared = candidate.prepared
        key = (prepared.placement, prepared.ways, prepared.split_weights, len(prepared.network))
        groups.setdefault(key, []).append(candidate)
    for group in list(groups.values())[:PLACEMENTS]:
        for found in filled_candidates(
            group[0].prepared, [c.starts for c in group[:STARTS]], target
        ):
            if found.figure < best:
                best = found.figure
                yield found
            if best <= target or clock.now() > deadline:
                return


def filled_candidates(
    prepared: Prepared, starts: Sequence[Whole], target: int = 0
) -> Iterator[Candidate]:
    """Yield candidates with weight passes put anew, one for each warm-up and each order given.

    Each is the best over all budgets. None is yielded where an activity visits several machines.

    Parameters
    ----------
    starts
        Schedules of the placement, whose other passes keep their order.
    target
        A figure in ticks to be met, of which a machine may wait what its work leaves.
    """
    view = prepared.view
    if view is None or not _is_plain(view.machines):
        return
    nodes = {int(activity): i for i, activity in enumerate(view.activities)}
    fills = np.zeros(len(nodes), dtype=np.bool_)
    for (_, kind), tasks in pass_tasks(prepared).items():
        if kind is PassKind.W:
            fills[[nodes[task] for task in chain.from_iterable(tasks)]] = True
    if not fills.any():
        return
    budgets = _budgets(view.machines, target)
    for order in chain(_warm_ups(prepared, view), map(view.order, starts)):
        found = _best(prepared, view, order, fills, budgets)
        if found is not None:
            yield found


def _budgets(machines: Machines, target: int) -> list[int]:
    """Return budgets in ticks: what the target leaves of the busiest machine's time, and others."""
    mean = float(machines.durations.mean())
    work = np.bincount(machines.visit_machine, weights=machines.durations)
    left = target - int(work.max())
    return [*([left] if left > 0 else []), *(round(budget * mean) for budget in BUDGETS)]


def _best(
    prepared: Prepared, view: SequenceView, order: Whole, fills: Flags, budgets: Sequence[int]
) -> Candidate | None:
    """Return the best candidate over all budgets; None if none comes to an end."""
    annealer = Annealer(view, prepared.criterion)
    best, least = None, -1
    for budget in budgets:
        found = filled(view.machines, order, fills, budget)
        if found is None:
            continue
        figure, begun = annealer.times(found)
        if figure >= 0 and (best is None or figure < least):
            best, least = begun, figure
    return None if best is None else Candidate(prepared, view.starts(best), least)


def filled(machines: Machines, order: Whole, fills: Flags, budget: int) -> Whole | None:
    """Return an order with the nodes that fill put anew; None if memory stops it.

    Parameters
    ----------
    order
        The other nodes keep it. Those that fill go in the order of what they wait for.
    fills
        Of each node.
    budget
        Ticks that a machine may wait in all where it could run a filler.
    """
    from parplan.search.improving.filling_kernel import fill  # compiled code takes long to load

    place = np.zeros(len(machines.durations), dtype=np.int64)
    place[order] = np.arange(len(order))
    rows = [order[a:b] for a, b in zip(machines.first[:-1], machines.first[1:], strict=True)]
    kept = [row[~fills[row]] for row in rows]
    fillers = [
        np.array(sorted(row[fills[row]].tolist(), key=lambda i: _after(machines, place, i)))
        for row in rows
    ]
    found = np.zeros_like(order)
    whole = fill(machines, *_flat(kept), *_flat(fillers), np.int64(budget), found)
    return found if whole else None


def _after(machines: Machines, place: Whole, node: int) -> tuple[int, int]:
    """Return the last place in the order of what a node waits for, and its own."""
    arcs = range(machines.arc_first[node], machines.arc_first[node + 1])
    waits = (int(place[machines.arc_from[k]]) for k in arcs)
    return max(waits, default=-1), int(place[node])


def _flat(rows: Sequence[Whole]) -> tuple[Whole, Whole]:
    flat = np.concatenate([*rows, np.zeros(0)]).astype(np.int64)
    return flat, np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)


def _is_plain(machines: Machines) -> bool:
    """Return whether each node visits one machine, which keeps all that it takes and gives."""
    if machines.mixed.any() or len(machines.last_buffer):
        return False
    if (np.diff(machines.visit_first) != 1).any():
        return False
    homes = np.repeat(np.arange(len(machines.kept_first) - 1), np.diff(machines.kept_first))
    owners = np.repeat(np.arange(len(machines.durations)), np.diff(machines.move_first))
    return bool((homes[machines.move_resource] == machines.visit_machine[owners]).all())


def _warm_ups(prepared: Prepared, view: SequenceView) -> Iterator[Whole]:
    """Yield orders of a one-way pipeline: warm-ups of F's, then B and F in turn; of others none.

    Warm-ups fall evenly from the first stage to the last: as ZB-H1's, as ZB-H2's where memory
    allows, or between the two.
    """
    machines, tasks = view.machines, pass_tasks(prepared)
    nodes = {int(activity): i for i, activity in enumerate(view.activities)}
    rows = {key: [[nodes[t] for t in part] for part in parts] for key, parts in tasks.items()}
    stages = len({stage for stage, _ in rows})
    if any(not rows.get((s, kind)) for s in range(stages) for kind in PassKind):
        return
    firsts = [rows[s, PassKind.F][0][0] for s in range(stages)]
    hosts = machines.visit_machine[machines.visit_first[firsts]].tolist()
    most = min(_room(machines, firsts[0]) / stages, 2.0)
    for part in SLOPES if most > 1 else (1.0,):
        slope = min(1.0, most) + part * (most - min(1.0, most))
        found = np.full(len(view.activities), -1, dtype=np.int64)
        for s, q in enumerate(hosts):
            warm_up = max(1, math.floor(slope * (stages - s) + 1e-9))
            order = _alternating(s, len(rows[s, PassKind.F]), warm_up)
            row = [i for one in order for i in rows[one.stage, one.kind][one.microbatch]]
            there = machines.visit_machine[machines.visit_first[row]] == q
            if len(row) != machines.first[q + 1] - machines.first[q] or not there.all():
                return
            found[machines.first[q] : machines.first[q + 1]] = row
        if (found >= 0).all():
            yield found


def _room(machines: Machines, node: int) -> float:
    """Return how many nodes like this one can start before any memory is given back."""
    moves = range(machines.move_first[node], machines.move_first[node + 1])
    return min(
        (
            (machines.limits[r] - machines.levels[r]) / machines.move_take[k]
            for k in moves
            for r in [machines.move_resource[k]]
            if machines.move_take[k] > 0
        ),
        default=math.inf,
    )


def _alternating(stage: int, microbatches: int, warm_up: int) -> list[Pass]:
    """Return so many F's, then B and F in turn, then the last B's, and all W's."""
    row = [Pass(PassKind.F, stage, k) for k in range(min(warm_up, microbatches))]
    for k in range(microbatches):
        row.append(Pass(PassKind.B, stage, k))
        if warm_up + k < microbatches:
            row.append(Pass(PassKind.F, stage, warm_up + k))
    return row + [Pass(PassKind.W, stage, k) for k in range(microbatches)]
