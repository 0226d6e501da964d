"""Is there a schedule that ends by a horizon? CP-SAT decides within the windows that are left.

The model has the streams' tasks in their order, the machines and their memory, nothing else: what
it refutes has no schedule, what it finds is one where the problem has no other rules. All times
are divided by the largest tick of which every duration, lag, head and tail is a multiple: a
schedule stays one if each start is put back to such a multiple.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from parplan.search.bounds.propagation import Windows
from parplan.search.bounds.streams import Index, Machine, Room, Streams

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, IntVar


@frozen(eq=False)
class Decision:
    """What is known of schedules that end by a horizon; neither if the time was too short.

    Attributes
    ----------
    starts
        Starts of all tasks of one such schedule of the streams, in ticks, ``(E,)``.
    refuted
        Whether there is none.
    """

    starts: Index | None
    refuted: bool


@frozen
class Hold:
    """Memory held from the k-th start of one stream to the k-th end of another, for all k."""

    first: int
    last: int
    amount: float


def grain(streams: Streams) -> int:
    """Return the largest tick of which all times of a problem's streams are multiples."""
    times = (streams.ticks, streams.lags, streams.heads, streams.tails)
    return max(int(np.gcd.reduce(np.concatenate(times))), 1)


def decide(streams: Streams, windows: Windows, seconds: float, workers: int = 1) -> Decision:
    """Return whether a schedule ends by the horizon of some windows.

    Parameters
    ----------
    windows
        Windows that hold in every schedule that ends by their horizon.
    seconds, workers
        Time and threads given to CP-SAT.

    Raises
    ------
    ImportError
        If ortools is not installed.
    """
    from ortools.sat.python import cp_model

    unit = grain(streams)
    low, high = -(-windows.earliest // unit), windows.latest // unit
    if (low > high).any():
        return Decision(None, refuted=True)
    model = cp_model.CpModel()
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    starts = [model.new_int_var(least, most, "") for least, most in pairs]
    arcs = np.stack([streams.before, streams.after, streams.lags // unit], axis=1)
    for before, after, lag in arcs.tolist():
        model.add(starts[after] >= starts[before] + lag)
    for machine in streams.machines:
        _add_machine(model, streams, machine, starts, windows.horizon, unit)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.max_time_in_seconds = max(seconds, 0.0)
    solver.parameters.catch_sigint_signal = False  # Ctrl-C is Python's
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        values = np.array([solver.value(start) for start in starts], dtype=np.int64)
        return Decision(values * unit, refuted=False)
    return Decision(None, refuted=status == cp_model.INFEASIBLE)


def _add_machine(
    model: CpModel,
    streams: Streams,
    machine: Machine,
    starts: list[IntVar],
    horizon: int,
    unit: int,
) -> None:
    """Add that a machine runs one task at a time, and what its memory holds."""
    tasks = [range(f, f + n) for f, n in _ranges(streams, machine)]
    ticks = (streams.ticks[machine.members] // unit).tolist()
    running = [
        [model.new_fixed_size_interval_var(starts[x], length, "") for x in some]
        for some, length in zip(tasks, ticks, strict=True)
    ]
    for some, length in zip(tasks, ticks, strict=True):
        for x, y in pairwise(some):
            model.add(starts[y] >= starts[x] + length)
    model.add_no_overlap([interval for some in running for interval in some])
    for room in machine.rooms:
        holds = matched(machine, room)
        if holds is None:
            continue
        intervals, amounts = [], []
        for hold in holds:
            for x, y in zip(tasks[hold.first], tasks[hold.last], strict=True):
                length = model.new_int_var(0, horizon, "")
                end = starts[y] + ticks[hold.last]
                intervals.append(model.new_interval_var(starts[x], length, end, ""))
                amounts.append(math.floor(hold.amount))
        for runs, amount in zip(running, room.running.tolist(), strict=True):
            if amount >= 1:
                intervals += runs
                amounts += [math.floor(amount)] * len(runs)
        model.add_cumulative(intervals, amounts, math.ceil(room.capacity))


def _ranges(streams: Streams, machine: Machine) -> list[tuple[int, int]]:
    """Return the first task and the number of tasks of each member."""
    members = machine.members
    return list(zip(streams.first[members].tolist(), streams.counts[members].tolist(), strict=True))


def matched(machine: Machine, room: Room) -> list[Hold] | None:
    """Return holds that, together, fill a room as its streams do; None if none were found.

    Any holds do in which the last is after the first: only how often each stream has started and
    ended counts.
    """
    after = _reachable(machine)
    begun, ended = room.begun.copy(), room.ended.copy()
    holds = []
    for i in np.flatnonzero(begun).tolist():
        for j in range(len(ended)):
            amount = float(min(begun[i], ended[j]))
            if amount > 0 and (i == j or (i, j) in after):
                holds.append(Hold(i, j, amount))
                begun[i] -= amount
                ended[j] -= amount
    return None if begun.any() or ended.any() else holds


def _reachable(machine: Machine) -> set[tuple[int, int]]:
    """Return the pairs of members one of which comes before the other, directly or not."""
    found, new = set(machine.before), set(machine.before)
    while new:
        new = {(a, d) for a, b in new for c, d in machine.before if b == c} - found
        found |= new
    return found
