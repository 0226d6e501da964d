"""Simulated annealing on devices of units and the order of tasks, timed by the list scheduler.

Moves are drawn along the critical path: a unit, or a connected piece of the graph on one device,
goes to another; two units change places; a task goes before others; the units of a window are
placed anew by earliest finish, under a toll. What a move leads to is timed up to the first task
that shows it to be refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from parplan import clock
from parplan.scheduling.tables import Whole
from parplan.search.graphs.list_schedule import OPEN, ListSchedules, Placed
from parplan.search.graphs.ranks import least_ways_out
from parplan.search.graphs.task_graph import TaskGraph

HOT, COLD = 0.0007, 0.00005
"""Temperature at the beginning and the end, as a part of the makespan."""

CRITICAL_SHARE = 0.6
"""Part of the moves that begin at a task of the critical path."""

EARLIER_SHARE, WINDOW_SHARE, SWAP_SHARE = 0.25, 0.25, 0.1
"""Parts of the moves that put a task earlier, place a window anew, and swap; the rest move."""

NEAR_SHARE = 0.7
"""Part of the moves of units that go where a task stands that they exchange tensors with."""

PIECES = (1, 1, 1, 2, 4, 8, 32)
"""How many units a connected piece has at most, one drawn for each move."""

WINDOWS = (8, 32, 128)
"""How many tasks a window has that is placed anew, one drawn for each move."""

TOLLS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Tolls under which windows are placed, one drawn for each move."""

REFRESH = 20
"""Accepted moves after which the critical path is found anew."""


def moves_until(lists: ListSchedules, start: Placed, until: float) -> int:
    """Return about how many moves there is time for, by timing one."""
    begun = clock.now()
    lists.in_order(start.order, start.device)
    now = clock.now()
    return max(int((until - now) / max(now - begun, 1e-6)), 0)


def annealed(
    lists: ListSchedules, start: Placed, most: int, seed: int, until: float = math.inf
) -> Iterator[Placed]:
    """Yield better and better schedules from a start.

    Parameters
    ----------
    most
        Moves, over which the temperature falls; what they lead to is fixed by the seed.
    until
        On ``parplan.clock``: no move begins after it.
    """
    moves = _Moves(lists, np.random.default_rng(seed))
    rest = least_ways_out(lists.graph).astype(np.int64)
    best = start.makespan
    state = start
    critical = critical_tasks(lists.graph, start)
    accepted = 0
    for move in range(most):
        if clock.now() > until:
            return
        temperature = HOT * (COLD / HOT) ** (move / most) * best
        worse = -temperature * math.log(max(moves.chance.random(), 1e-12))
        device, order, toll = moves.drawn(state, critical)
        limit = state.makespan + int(worse) + 1
        placed = lists.in_order(order, device, toll=toll, limit=limit, rest=rest)
        if placed is None:
            continue
        accepted += 1
        state = placed
        if placed.makespan < best:
            best = placed.makespan
            yield placed
        if accepted % REFRESH == 0:
            critical = critical_tasks(lists.graph, placed)


def critical_tasks(graph: TaskGraph, placed: Placed) -> Whole:
    """Return tasks of a path on which none starts later than what it waits for allows.

    From the last end back: to the producer whose tensor came as the task started, else to the task
    whose end made its engine free; where neither did, a transfer queued, and the path goes on at
    the producer whose tensor came last. O(tasks x log).
    """
    device = placed.device[graph.unit]
    ends = placed.starts + graph.ticks[np.arange(len(graph)), device]
    engine = np.where(graph.lane >= 0, device * graph.lanes + graph.lane, -1)
    by_end = np.lexsort((ends, engine))
    keys = engine[by_end].astype(float) * (float(placed.makespan) + 1.0) + ends[by_end]
    sends = graph.sends
    path = [int(ends.argmax())]
    while placed.starts[path[-1]] > 0:
        task = path[-1]
        inputs = sends.inputs.row(task)
        producers = sends.producer[inputs]
        local = device[producers] == device[task]
        there = np.where(local, ends[producers], placed.arrivals[inputs, device[task]])
        start = int(placed.starts[task])
        before = -1
        if not (len(there) and there.max() >= start) and engine[task] >= 0:
            key = float(engine[task]) * (float(placed.makespan) + 1.0) + start
            at = int(np.searchsorted(keys, key, side="right")) - 1
            before = int(by_end[at]) if at >= 0 and keys[at] == key else -1
        if before < 0 and len(there):
            before = int(producers[there.argmax()])
        if before < 0 or len(path) > len(graph):
            break
        path.append(before)
    return np.array(path, dtype=np.int64)


class _Moves:
    """Draws moves; each leaves the arrays that it is given as they are."""

    def __init__(self, lists: ListSchedules, chance: np.random.Generator) -> None:
        self.graph = lists.graph
        self.chance = chance
        order = np.argsort(self.graph.unit, kind="stable")
        self._tasks = order
        counts = np.bincount(self.graph.unit, minlength=self.graph.units)
        self._first = np.concatenate([[0], np.cumsum(counts)])

    def drawn(self, state: Placed, critical: Whole) -> tuple[Whole, Whole, float]:
        """Return devices, order and the toll for what is open, after a move."""
        device, order = state.device, state.order
        tasks = critical if self.chance.random() < CRITICAL_SHARE else order
        task = int(tasks[self.chance.integers(len(tasks))])
        unit = int(self.graph.unit[task])
        kind = self.chance.random()
        if kind < EARLIER_SHARE:
            return device, self._earlier(task, order), 0.0
        if kind < EARLIER_SHARE + WINDOW_SHARE:
            toll = TOLLS[int(self.chance.integers(len(TOLLS)))]
            return self._opened(task, device, order), order, toll
        if kind < EARLIER_SHARE + WINDOW_SHARE + SWAP_SHARE:
            return self._swapped(unit, device), order, 0.0
        return self._moved(unit, device), order, 0.0

    def _opened(self, task: int, device: Whole, order: Whole) -> Whole:
        """Return devices in which the units of the tasks that are taken around one are open."""
        size = WINDOWS[int(self.chance.integers(len(WINDOWS)))]
        first = max(int(np.flatnonzero(order == task)[0]) - int(self.chance.integers(size)), 0)
        found = device.copy()
        found[self.graph.unit[order[first : first + size]]] = OPEN
        return found

    def _earlier(self, task: int, order: Whole) -> Whole:
        """Return the order with a task at a place between its last producer and itself."""
        graph = self.graph
        at = int(np.flatnonzero(order == task)[0])
        producers = graph.sends.producer[graph.sends.inputs.row(task)]
        first = 0
        if len(producers):
            first = 1 + int(np.flatnonzero(np.isin(order[:at], producers))[-1])
        if first >= at:
            return order
        to = int(self.chance.integers(first, at))
        return np.concatenate([order[:to], [task], order[to:at], order[at + 1 :]])

    def _swapped(self, unit: int, device: Whole) -> Whole:
        """Return devices with those of two units exchanged."""
        other = int(self.chance.integers(len(device)))
        allowed = self.graph.allowed
        if not (allowed[unit, device[other]] and allowed[other, device[unit]]):
            return device
        found = device.copy()
        found[unit], found[other] = device[other], device[unit]
        return found

    def _moved(self, unit: int, device: Whole) -> Whole:
        """Return devices with a connected piece of one device on another one."""
        near = self._neighbours(unit)
        target = int(self.chance.integers(self.graph.devices))
        if len(near) and self.chance.random() < NEAR_SHARE:
            target = int(device[near[self.chance.integers(len(near))]])
        most = PIECES[int(self.chance.integers(len(PIECES)))]
        piece, queue = {unit}, [unit]
        while queue and len(piece) < most:
            for other in self._neighbours(queue.pop(0)).tolist():
                if device[other] == device[unit] and len(piece) < most and other not in piece:
                    piece.add(other)
                    queue.append(other)
        found = device.copy()
        movable = [u for u in piece if self.graph.allowed[u, target]]
        found[movable] = target
        return found

    def _neighbours(self, unit: int) -> Whole:
        """Return the units that a unit exchanges tensors with."""
        sends, found = self.graph.sends, []
        for task in self._tasks[self._first[unit] : self._first[unit + 1]]:
            found.append(sends.producer[sends.inputs.row(task)])
            first, last = sends.of_task.first[task], sends.of_task.first[task + 1]
            found.append(sends.readers.item[sends.readers.first[first] : sends.readers.first[last]])
        units = self.graph.unit[np.concatenate(found)] if found else np.zeros(0, dtype=np.int64)
        return np.asarray(units[units != unit])
