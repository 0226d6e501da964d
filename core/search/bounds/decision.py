"""Is there a schedule that ends by a horizon? CP-SAT decides within the windows that are left.

The model has the streams' tasks in their order, the machines and their memory, nothing else: what
it refutes has no schedule, what it finds is one where the problem has no other rules. All times
are divided by the largest tick of which every duration, lag, head and tail is a multiple: a
schedule stays one if each start is put back to such a multiple.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
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

    writer = _Writer(streams, windows, grain(streams), cp_model.CpModel())
    if (writer.low > writer.high).any():
        return Decision(None, refuted=True)
    for machine in streams.machines:
        writer.add(machine)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.max_time_in_seconds = max(seconds, 0.0)
    status = solver.solve(writer.model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        values = [solver.value(start) for start in writer.starts]
        return Decision(np.array(values, dtype=np.int64) * writer.grain, refuted=False)
    return Decision(None, refuted=status == cp_model.INFEASIBLE)


@frozen(eq=False)
class _Writer:
    """A model in the making; ``low`` and ``high`` are the windows in grains."""

    streams: Streams
    windows: Windows
    grain: int
    model: CpModel

    @cached_property
    def low(self) -> Index:
        low: Index = -(-self.windows.earliest // self.grain)
        return low

    @cached_property
    def high(self) -> Index:
        high: Index = self.windows.latest // self.grain
        return high

    @cached_property
    def ticks(self) -> list[int]:
        """Duration of a task of each stream, in grains."""
        ticks: list[int] = (self.streams.ticks // self.grain).tolist()
        return ticks

    @cached_property
    def starts(self) -> list[IntVar]:
        """The starts of all tasks, bound to each other by all arcs."""
        pairs = zip(self.low.tolist(), self.high.tolist(), strict=True)
        starts = [self.model.new_int_var(low, high, "") for low, high in pairs]
        s = self.streams
        lags = (s.lags // self.grain).tolist()
        for a, b, lag in zip(s.before.tolist(), s.after.tolist(), lags, strict=True):
            self.model.add(starts[b] >= starts[a] + lag)
        return starts

    def add(self, machine: Machine) -> None:
        """Add one machine and its rooms."""
        members = machine.members.tolist()
        running = {
            i: [
                self.model.new_fixed_size_interval_var(self.starts[x], self.ticks[i], "")
                for x in self._tasks(i)
            ]
            for i in members
        }
        self.model.add_no_overlap([interval for some in running.values() for interval in some])
        for room in machine.rooms:
            holds = matched(machine, room)
            if holds is None:
                continue
            intervals, amounts = [], []
            for hold in holds:
                first, last = members[hold.first], members[hold.last]
                for x, y in zip(self._tasks(first), self._tasks(last), strict=True):
                    most = int(self.high[y] - self.low[x]) + self.ticks[last]
                    length = self.model.new_int_var(0, max(most, 0), "")
                    end = self.starts[y] + self.ticks[last]
                    intervals.append(self.model.new_interval_var(self.starts[x], length, end, ""))
                    amounts.append(math.floor(hold.amount))
            for i, amount in zip(members, room.running.tolist(), strict=True):
                if amount >= 1:
                    intervals += running[i]
                    amounts += [math.floor(amount)] * len(running[i])
            self.model.add_cumulative(intervals, amounts, math.ceil(room.capacity))

    def _tasks(self, stream: int) -> range:
        first = int(self.streams.first[stream])
        return range(first, first + int(self.streams.counts[stream]))


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


def decided_makespans(
    streams: Streams, floor: Windows, seconds: Iterator[float], workers: int = 1
) -> Iterator[int]:
    raise NotImplementedError
