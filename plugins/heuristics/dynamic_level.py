"""Dynamic level scheduling: of all ready tasks and devices, the pair that suits best."""

from __future__ import annotations

import heapq
from typing import ClassVar

import numpy as np

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.scheduling.tables import Flags, Real, Whole
from parplan.search.graphs.ranks import static_levels
from parplan.search.graphs.task_graph import TaskGraph

WINDOW = 256
"""Ready tasks that are looked at, those with the longest way to the end."""


class DynamicLevel(PlacementHeuristic):
    """Dynamic level scheduling (Sih, Lee 1993, with their term for unequal devices)."""

    name: ClassVar[str] = "dynamic-level"

    def place(self, graph: TaskGraph) -> Proposal | None:
        """Return devices, and the order of decisions as priorities; None where memory is short.

        O(tasks x ``WINDOW`` x devices).
        """
        levels = static_levels(graph)
        choice = _Choice(graph)
        waiting = np.diff(graph.sends.inputs.first)
        queue = [(-levels[i], int(i)) for i in np.flatnonzero(waiting == 0)]
        heapq.heapify(queue)
        window: list[int] = []
        arrivals = np.zeros((WINDOW, graph.devices))
        gains = np.zeros((WINDOW, graph.devices))
        priority = np.zeros(len(graph))
        for step in range(len(graph)):
            while queue and len(window) < WINDOW:
                task = heapq.heappop(queue)[1]
                arrivals[len(window)] = choice.arrivals(task)
                gains[len(window)] = levels[task] + choice.preferences(task)
                window.append(task)
            rows = len(window)
            starts = np.maximum(arrivals[:rows], choice.free)
            dynamic = np.where(choice.open_to(np.array(window)), gains[:rows] - starts, -np.inf)
            row, device = divmod(int(dynamic.argmax()), graph.devices)
            if np.isneginf(dynamic[row, device]):
                return None
            task = window[row]
            choice.run(task, device, float(starts[row, device]))
            priority[task] = step
            for table in (arrivals, gains):
                table[row] = table[rows - 1]
            window[row] = window[-1]
            window.pop()
            for reader in choice.readers(task).tolist():
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(queue, (-levels[reader], reader))
        return Proposal(priority, choice.device)


class _Choice:
    """Devices of units while they are chosen, and when devices and inputs are there.

    Transfers take their time and do not queue.
    """

    def __init__(self, graph: TaskGraph) -> None:
        memory = graph.memory
        self.graph = graph
        self.device = np.full(graph.units, -1, dtype=np.int64)
        self.free = np.zeros(graph.devices)
        self._ends = np.zeros(len(graph))
        self._room = memory.room.copy()
        self._bytes = memory.kept_bytes.copy()  # shared parameters count for each unit
        rows = np.repeat(np.arange(graph.units), np.diff(memory.groups.first))
        np.add.at(self._bytes, rows, memory.group_bytes[memory.groups.item])
        self._mean = graph.mean_ticks()

    def arrivals(self, task: int) -> Real:
        """Return ``(d,)``, when all that a task reads is on each device."""
        graph, routes = self.graph, self.graph.routes
        inputs = graph.sends.inputs.row(task)
        if not len(inputs):
            return np.full(graph.devices, float(graph.release[task]))
        producers = graph.sends.producer[inputs]
        sources = self.device[graph.unit[producers]]
        moves = graph.sends.bytes[inputs, None] * routes.ticks_per_byte[sources]
        there = self._ends[producers, None] + moves + routes.latency[sources]
        return np.asarray(np.maximum(there.max(axis=0), graph.release[task]))

    def preferences(self, task: int) -> Real:
        """Return ``(d,)``, how much faster than the mean each device is."""
        ticks = self.graph.ticks[task]
        return np.where(ticks >= 0, self._mean[task] - ticks, -np.inf)

    def open_to(self, tasks: Whole) -> Flags:
        """Return ``(tasks, d)``, where tasks may still go."""
        units = self.graph.unit[tasks]
        chosen = self.device[units]
        fits = self.graph.allowed[units] & (self._bytes[units, None] <= self._room)
        own = chosen[:, None] == np.arange(self.graph.devices)
        return np.asarray(np.where(chosen[:, None] >= 0, own, fits))

    def run(self, task: int, device: int, start: float) -> None:
        """Let a task run on a device."""
        unit = self.graph.unit[task]
        if self.device[unit] < 0:
            self.device[unit] = device
            self._room[device] -= self._bytes[unit]
        self._ends[task] = start + self.graph.ticks[task, device]
        if self.graph.lane[task] >= 0:
            self.free[device] = self._ends[task]

    def readers(self, task: int) -> Whole:
        """Return the tasks that read what a task sends, one that reads twice twice."""
        sends = self.graph.sends
        first, last = sends.of_task.first[task], sends.of_task.first[task + 1]
        return sends.readers.item[sends.readers.first[first] : sends.readers.first[last]]
