"""List scheduling: at each instant start what is ready and fits, most urgent first.

Decisions go forward in time, so what an activity or a buffer will hold later never has to be
foreseen: levels only fall without a decision. The result obeys every declared rule by construction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from attrs import frozen

from parplan.scheduling.network import Network
from parplan.scheduling.tables import Flags, Real, Rows, Tables, Whole, make_tables

PLAIN = 400
"""Up to this many activities the plain form is used, which has nothing to load."""

Arcs = tuple[Whole, Whole]
"""(before, after): ``after[i]`` starts when ``before[i]`` has ended."""

NO_ARCS: Arcs = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def arcs_of(pairs: Iterable[tuple[int, int]]) -> Arcs:
    """Return (before, after) pairs as arrays."""
    table = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


@frozen
class Deadlock:
    """No schedule came out: what was ready could not start, and nothing was running.

    Attributes
    ----------
    activity
        One that was ready; -1 if there was none.
    resource
        Index of the resource that it lacked; -1 if there is none.
    done
        How many activities had been started.
    """

    activity: int
    resource: int
    done: int


class ListScheduler:
    """A network made ready for many runs with different priorities.

    One run costs O(activities x log + starts tried).
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.tables = make_tables(network)

    def run(
        self,
        priority: Real | Sequence[float],
        arcs: Arcs = NO_ARCS,
        patient: Flags | None = None,
    ) -> Whole | Deadlock:
        """Return the start of each activity in ticks, or the deadlock that was met.

        Parameters
        ----------
        priority
            Of each activity; lower goes first.
        arcs
            Further arcs.
        patient
            Which activities wait for more urgent ones of their queue that are known to come, and
            would fit, before they would have ended themselves. None: no activity does.
        """
        urgency = np.asarray(priority, dtype=float)
        waits = np.zeros(len(urgency), dtype=np.bool_) if patient is None else patient
        if len(self.network) <= PLAIN:
            found = run_plainly(self.tables, urgency, *arcs, waits)
        else:
            from parplan.scheduling.kernel import run_compiled

            found = run_compiled(self.tables, urgency, *arcs, waits)
        starts, done, stuck, resource = found
        return starts if done == len(starts) else Deadlock(stuck, resource, done)

    def makespan(self, starts: Whole | Sequence[int]) -> int:
        """Return the end of the last task."""
        count = len(self.network.tasks)
        return int((np.asarray(starts)[:count] + self.tables.durations[:count]).max())


def run_plainly(
    tables: Tables, priority: Real, before: Whole, after: Whole, patient: Flags
) -> tuple[Whole, int, int, int]:
    """Return (starts, how many were started, an activity that is stuck, the resource it lacks).

    The compiled form makes the same decisions; see ``kernel.run_compiled`` for the parameters.
    """
    return _PlainRun(tables, priority, before, after, patient).run()


class _PlainRun:
    """One run, in plain Python."""

    def __init__(
        self, tables: Tables, priority: Real, before: Whole, after: Whole, patient: Flags
    ) -> None:
        self.t = tables
        self.priority = priority.tolist()
        self.patient = patient.tolist()
        self.durations = tables.durations.tolist()
        self.count = len(self.durations)
        self.arcs = _pairs(tables.arcs)
        self.needs = _pairs(tables.needs)
        self.ends = _pairs(tables.ends)
        self.buffers = _pairs(tables.buffers)
        self.frees = _pairs(tables.frees)
        self.watchers = _pairs(tables.watchers)
        self.waiting = tables.waiting.tolist()
        self.left = tables.left.tolist()
        self.level = tables.levels.tolist()
        self.limits = tables.limits.tolist()
        self.ready_at = tables.releases.tolist()
        self.further: dict[int, list[int]] = {}
        for one, two in zip(before.tolist(), after.tolist(), strict=True):
            self.further.setdefault(one, []).append(two)
            self.waiting[two] += 1
        self.starts = [-1] * self.count
        self.queues: list[list[tuple[float, int]]] = [[] for _ in tables.gate]
        self.coming: list[set[int]] = [set() for _ in tables.gate]
        self.dirty: set[int] = set()
        self.arrived = 0
        # (time, activity) is an end, (time, activity + count) becoming ready.
        self.events = [
            (self.ready_at[i], i + self.count) for i in range(self.count) if not self.waiting[i]
        ]
        heapq.heapify(self.events)

    def run(self) -> tuple[Whole, int, int, int]:
        """Go through all instants at which something ends or becomes ready."""
        while self.events:
            now = self.events[0][0]
            while self.events and self.events[0][0] == now:
                _, event = heapq.heappop(self.events)
                if event >= self.count:
                    self._arrive(event - self.count)
                else:
                    self._end(event)
            # What takes no time (a free transfer) makes others ready at once: they are heard first.
            for q in sorted(self.dirty):
                self.dirty.discard(q)
                self._serve(q, now)
                if self.events and self.events[0][0] == now:
                    break
        done = sum(start >= 0 for start in self.starts)
        stuck = next((heap[0][1] for heap in self.queues if heap), -1)
        lacking = -1 if stuck < 0 else self._lacks(stuck)
        return np.array(self.starts, dtype=np.int64), done, stuck, lacking

    def _arrive(self, activity: int) -> None:
        q = int(self.t.queue[activity])
        self.coming[q].discard(activity)
        rank = self.priority[activity]
        if self.t.strict[q]:
            self.arrived += 1
            rank = float(self.arrived)
        heapq.heappush(self.queues[q], (rank, activity))
        self.dirty.add(q)

    def _end(self, activity: int) -> None:
        for r, amount in self.ends[activity]:
            self._give_back(r, amount)
        for b, _ in self.frees[activity]:
            self.left[b] -= 1
            if self.left[b] == 0:
                for r, amount in self.buffers[b]:
                    self._give_back(r, amount)

    def _give_back(self, resource: int, amount: float) -> None:
        self.level[resource] -= amount
        self.dirty.update(q for q, _ in self.watchers[resource])

    def _lacks(self, activity: int) -> int:
        for r, amount in self.needs[activity]:
            if self.level[r] + amount > self.limits[r]:
                return r
        return -1

    def _serve(self, q: int, now: int) -> None:
        """Start what fits of a queue; what does not fit lets others pass, unless it is strict."""
        heap, passed = self.queues[q], []
        while heap:
            activity = heap[0][1]
            blocked = self._lacks(activity)
            if blocked >= 0:
                if blocked == self.t.gate[q] or self.t.strict[q]:
                    break
                passed.append(heapq.heappop(heap))
                continue
            if self.patient[activity] and self._awaits(q, activity, now):
                break
            heapq.heappop(heap)
            for r, amount in self.needs[activity]:
                self.level[r] += amount
            heapq.heappush(self.events, (now + self.durations[activity], activity))
            self._start(activity, now)
        for item in passed:
            heapq.heappush(heap, item)

    def _awaits(self, q: int, activity: int, now: int) -> bool:
        """Return whether something more urgent comes before the activity would have ended."""
        return any(
            self.priority[other] < self.priority[activity]
            and self.ready_at[other] < now + self.durations[activity]
            and self._lacks(other) < 0
            for other in self.coming[q]
        )

    def _start(self, activity: int, now: int) -> None:
        self.starts[activity] = now
        begun = [activity]
        while begun:
            one = begun.pop()
            for later, delay in self.arcs[one]:
                self._reach(later, max(self.starts[one] + int(delay), now), begun)
            for later in self.further.get(one, ()):
                self._reach(later, self.starts[one] + self.durations[one], begun)

    def _reach(self, activity: int, time: int, begun: list[int]) -> None:
        self.ready_at[activity] = max(self.ready_at[activity], time)
        self.waiting[activity] -= 1
        if self.waiting[activity] > 0:
            return
        ready, q = self.ready_at[activity], int(self.t.queue[activity])
        if q == 0 and not self.needs[activity]:
            # Nothing can hold it up, so what follows it is known already.
            self.starts[activity] = ready
            begun.append(activity)
            if self.ends[activity] or self.frees[activity]:
                heapq.heappush(self.events, (ready + self.durations[activity], activity))
            return
        self.coming[q].add(activity)
        heapq.heappush(self.events, (ready, activity + self.count))


def _pairs(rows: Rows) -> list[list[tuple[int, float]]]:
    first, index, amount = rows.first.tolist(), rows.index.tolist(), rows.amount.tolist()
    pairs = list(zip(index, amount, strict=True))
    return [pairs[a:b] for a, b in pairwise(first)]


def serial_arcs(network: Network) -> Arcs:
    """Return arcs that run one microbatch after another: for a chain, the least memory there is.

    The first tasks of microbatch k wait for the last of microbatch k - 1.
    """
    count = len(network.tasks)
    inner = [m for _, m in network.tasks]
    leaves: dict[int, set[int]] = {}
    enters: dict[int, set[int]] = {}
    for task, m in enumerate(inner):
        if m >= 0:
            leaves.setdefault(m, set()).add(task)
            enters.setdefault(m, set()).add(task)
    for task in range(count):
        m = inner[task]
        for after in _later_tasks(network, task):
            if m >= 0 and inner[after] == m:
                leaves[m].discard(task)
                enters[m].discard(after)
    pairs = [
        (before, after)
        for m in sorted(enters)
        for before in sorted(leaves.get(m - 1, ()))
        for after in sorted(enters[m])
    ]
    return arcs_of(pairs)


def _later_tasks(network: Network, task: int) -> Iterable[int]:
    """Yield the tasks that wait for a task, directly or through a transfer."""
    count = len(network.tasks)
    for after, _ in network.successors[task]:
        if after < count:
            yield after
        else:
            yield from (reader for reader, _ in network.successors[after])
