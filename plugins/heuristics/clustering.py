"""Clusters of tasks that had better not send to each other, then a device for each cluster."""

from __future__ import annotations

import heapq
from typing import ClassVar

import numpy as np

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.scheduling.tables import Whole
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.task_graph import TaskGraph

OPEN = -1


class Clustering(PlacementHeuristic):
    """Dominant sequence clustering, and clusters to devices by load, the largest first.

    Of Yang and Gerasoulis (1994) the order and the criterion are kept: of the tasks whose inputs
    are known the one on the longest path goes to the cluster in which it starts first. Their look
    ahead for tasks with further inputs is left out.
    """

    name: ClassVar[str] = "clustering"

    def place(self, graph: TaskGraph) -> Proposal:
        """Return devices of clusters, and upward ranks as priorities; O(edges + tasks x log)."""
        ranks = upward_ranks(graph)
        cluster = _clusters(graph, ranks.tolist())
        return Proposal(-ranks, _mapped(graph, cluster))


def _clusters(graph: TaskGraph, ranks: list[float]) -> Whole:
    """Return ``(u,)``, the cluster of each unit; -1 for units without tasks."""
    sends = graph.sends
    ticks, transfer = graph.mean_ticks().tolist(), graph.mean_transfer_ticks().tolist()
    producer, unit = sends.producer.tolist(), graph.unit.tolist()
    waiting = np.diff(sends.inputs.first).tolist()
    cluster, free = [OPEN] * graph.units, list[float]()
    ends = [0.0] * len(graph)
    arrival = [0.0] * len(graph)
    queue = [(-ranks[i], i) for i, inputs in enumerate(waiting) if not inputs]
    heapq.heapify(queue)
    while queue:
        task = heapq.heappop(queue)[1]
        inputs = sends.inputs.row(task).tolist()
        own = cluster[unit[task]]
        start, chosen = arrival[task], OPEN
        near = {cluster[unit[producer[s]]] for s in inputs} if own == OPEN else {own}
        for candidate in sorted(near):
            there = free[candidate]
            for send in inputs:
                local = cluster[unit[producer[send]]] == candidate
                there = max(there, ends[producer[send]] + (0.0 if local else transfer[send]))
            if there <= start or own != OPEN:
                start, chosen = there, candidate
        if chosen == OPEN:
            chosen = len(free)
            free.append(0.0)
        cluster[unit[task]] = chosen
        ends[task] = free[chosen] = start + ticks[task]
        for send in range(sends.of_task.first[task], sends.of_task.first[task + 1]):
            for reader in sends.readers.row(send).tolist():
                arrival[reader] = max(arrival[reader], ends[task] + transfer[send])
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(queue, (-(arrival[reader] + ranks[reader]), reader))
    return np.array(cluster, dtype=np.int64)


def _mapped(graph: TaskGraph, cluster: Whole) -> Whole:
    """Return ``(u,)``, the device of each unit: that of its cluster, where it would end first.

    Units that a device of their cluster cannot take, by rule or for lack of memory, stay open.
    """
    work = np.zeros((graph.units, graph.devices))
    np.add.at(work, graph.unit, np.where(graph.ticks >= 0, graph.ticks, 0))
    work = np.where(graph.allowed, work, np.inf)
    memory = graph.memory
    size = memory.kept_bytes.copy()
    rows = np.repeat(np.arange(graph.units), np.diff(memory.groups.first))
    np.add.at(size, rows, memory.group_bytes[memory.groups.item])
    used = np.flatnonzero(cluster != OPEN)
    count = int(cluster.max()) + 1
    total = np.zeros((count, graph.devices))
    np.add.at(total, cluster[used], np.where(graph.allowed, work, 0.0)[used])
    members: list[list[int]] = [[] for _ in range(count)]
    for unit in used.tolist():
        members[cluster[unit]].append(unit)
    load, room = np.zeros(graph.devices), memory.room.copy()
    device = np.full(graph.units, OPEN, dtype=np.int64)
    for one in np.argsort(-total.mean(axis=1), kind="stable").tolist():
        bytes_of_all = float(size[members[one]].sum())
        cost = np.where(bytes_of_all <= room, load + total[one], np.inf)
        if np.isinf(cost).all():
            continue
        chosen = int(cost.argmin())
        for unit in members[one]:
            if graph.allowed[unit, chosen]:
                device[unit] = chosen
                load[chosen] += work[unit, chosen]
                room[chosen] -= size[unit]
    return device
